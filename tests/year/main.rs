//! A simulated year: a model of Stripe and of some thousand workspaces, told to the product over a bad network, and
//! compared with it throughout and at the end. See docs/year.md.
//!
//!     cargo test --test year -- [--workspaces N] [--seed N] [--engine sqlite|postgres] [--only N]

#![expect(clippy::unwrap_used, reason = "a test may fail")]

mod calendar;
mod compare;
mod model;
mod network;
mod product;
mod simulation;
mod story;
mod stripe;
mod trials;

/// Which database a year is simulated on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum On {
    Sqlite,
    Postgres,
}

impl On {
    fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Args {
    engines: Vec<On>,
    pub(crate) workspaces: usize,
    pub(crate) seed: u64,
    /// This workspace alone, in the same year.
    pub(crate) only: Option<usize>,
}

/// What test runners ask for beside the options of our own: the names of the tests, and one of them.
fn args() -> Option<Args> {
    let mut args = Args { engines: vec![On::Sqlite, On::Postgres], workspaces: 200, seed: 1, only: None };
    let words: Vec<String> = std::env::args().skip(1).collect();
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        let mut number = || rest.next().and_then(|value| value.parse::<u64>().ok()).expect("a number");
        match word.as_str() {
            "--list" => {
                if !words.iter().any(|word| word == "--ignored") {
                    println!("sqlite: test\npostgres: test");
                }
                return None;
            }
            "--workspaces" => args.workspaces = number() as usize,
            "--seed" => args.seed = number(),
            "--only" => args.only = Some(number() as usize),
            "sqlite" => args.engines = vec![On::Sqlite],
            "postgres" => args.engines = vec![On::Postgres],
            // `--engine`, and what test runners pass to every test.
            _ => {}
        }
    }
    Some(args)
}

#[tokio::main]
async fn main() {
    let Some(args) = args() else { return };
    let mut right = true;
    for on in &args.engines {
        right &= simulation::run(*on, &args).await;
    }
    assert!(right, "seed {}: workspaces are not what they must be", args.seed);
}
