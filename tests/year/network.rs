//! The way from Stripe to the endpoint: late, twice, out of order, lost until the next attempt, and for whole days not at
//! all. What happens while the endpoint is disabled is not sent again where the product may ask for it; elsewhere nothing is
//! lost for good: after three days of attempts somebody presses "Resend".

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::calendar::{DAY, END, HOUR, MINUTE, START};

/// When Stripe tries, after the event; its last attempt is made after three days.
const ATTEMPTS: [i64; 10] =
    [0, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 6 * HOUR, 14 * HOUR, 26 * HOUR, 40 * HOUR, 56 * HOUR, 72 * HOUR];

/// Times in which the endpoint is disabled: the same for all workspaces.
#[derive(Clone, Debug)]
pub(crate) struct Outages(Vec<(i64, i64)>);

impl Outages {
    /// Four days of the year.
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed ^ 0x0007_a6e5);
        let quarter = (END - START) / 4;
        let begin =
            |quarters: i64, random: &mut StdRng| START + quarters * quarter + random.random_range(0..quarter - 2 * DAY);
        Self(
            (0..4)
                .map(|number| {
                    let begins = begin(number, &mut random);
                    (begins, begins + random.random_range(20 * HOUR..28 * HOUR))
                })
                .collect(),
        )
    }

    fn end(&self, at: i64) -> Option<i64> {
        self.0.iter().find(|(begins, ends)| (*begins..*ends).contains(&at)).map(|(_, ends)| *ends)
    }
}

/// The way of one workspace's events.
pub(crate) struct Network {
    random: StdRng,
    outages: Outages,
    may_ask: bool,
}

impl Network {
    pub(crate) fn new(seed: u64, index: usize, outages: Outages, may_ask: bool) -> Self {
        let seed = seed.wrapping_mul(0xd1b5_4a32_d192_ed03) ^ (index as u64 + 1);
        Self { random: StdRng::seed_from_u64(seed), outages, may_ask }
    }

    /// When an event of `at` arrives: at least once, or never where the product may ask for it.
    pub(crate) fn arrivals(&mut self, at: i64) -> Vec<i64> {
        if self.may_ask && self.outages.end(at).is_some() {
            return Vec::new();
        }
        // Most come within seconds, which is enough to change their order.
        let lost = match self.random.random_range(0..100) {
            0..90 => 0.0,
            90..96 => 0.4,
            _ => 0.85,
        };
        let mut arrivals = Vec::new();
        for after in ATTEMPTS {
            let jitter =
                if after == 0 { self.random.random_range(1..20) } else { self.random.random_range(0..10 * MINUTE) };
            let attempt = at + after + jitter;
            if self.outages.end(attempt).is_some() || (after < 72 * HOUR && self.random.random_bool(lost)) {
                continue;
            }
            arrivals.push(attempt);
            // The answer is lost now and then, and Stripe tries again.
            if !self.random.random_bool(0.02) {
                break;
            }
        }
        if arrivals.is_empty() {
            let given_up = at + 73 * HOUR;
            arrivals.push(self.outages.end(given_up).unwrap_or(given_up) + self.random.random_range(0..DAY));
        }
        // Somebody resends it, days later.
        if self.random.random_bool(0.01) {
            arrivals.push(at + self.random.random_range(HOUR..15 * DAY));
        }
        arrivals.sort_unstable();
        arrivals
    }
}
