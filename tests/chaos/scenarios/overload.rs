//! Three times as many events as the machine can take, at a pace that waits for nobody, beside the usual traffic.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use billing::stripe::Secrets;

use crate::bodies::{day, event, now, subscription};
use crate::firing::{Shot, ask, fire};
use crate::harness::{On, SECRET, Site};
use crate::stage::{Report, Stage, Wish};

/// What is refused is refused within this, but for one in a hundred: a second, and where nothing is optimised, and the
/// sender is as short of processor as the receiver, in any case before Stripe would give up.
const AT_ONCE: Duration = Duration::from_secs(if cfg!(debug_assertions) { 3 } else { 1 });
/// Full speed has to be back within this.
const RECOVERY: Duration = Duration::from_secs(5);
const TIMES: f64 = 3.0;

pub(super) async fn play(on: On, wish: Wish) -> Report {
    let mut stage = Stage::new(Site::new(on).await, wish).await;
    stage.rate = 20.0;
    stage.recovery = RECOVERY;
    stage.start().await;
    let mut shots = Vec::new();
    let mut capacity = 0.0;
    let mut finished = 0;
    let mut report = stage
        .through(async |site, _| {
            capacity = how_much(site).await;
            let before = finished_load(site, "evt_load_%").await;
            shots = load(site, "load", capacity * TIMES, wish.seconds(10, 60)).await;
            finished = finished_load(site, "evt_load_%").await - before;
        })
        .await;
    let seconds = wish.seconds(10, 60).as_secs_f64();
    let count = |status| shots.iter().filter(|shot| shot.status == Some(Ok(status))).count();
    let (taken, refused, silent) = (count(200), count(503), shots.iter().filter(|shot| shot.status.is_none()).count());
    let broken: Vec<_> = shots.iter().filter_map(|shot| shot.status?.err()).collect();
    let slow = |status: u16| {
        let mut took: Vec<_> =
            shots.iter().filter(|shot| shot.status == Some(Ok(status))).map(|shot| shot.took).collect();
        took.sort_unstable();
        took.get(took.len() * 99 / 100).copied().unwrap_or_default()
    };
    println!(
        "  capacity {capacity:.0}/s; {:.0}/s were due; of {:.0}/s that were sent {:.0}/s were taken (p99 {:.0} ms), {:.0}/s refused (p99 {:.0} ms), {silent} not answered, {} broken {:?}; {:.0}/s were finished meanwhile",
        capacity * TIMES,
        shots.len() as f64 / seconds,
        taken as f64 / seconds,
        slow(200).as_secs_f64() * 1000.0,
        refused as f64 / seconds,
        slow(503).as_secs_f64() * 1000.0,
        broken.len(),
        broken.first(),
        finished as f64 / seconds,
    );
    if silent + broken.len() > 0 {
        report.failures.push(format!("{} answers were neither 200 nor 503", shots.len() - taken - refused));
    }
    let kept = finished_load(&stage.site, "evt_load_load_%").await;
    if kept < taken {
        report.failures.push(format!("{taken} were taken, and only {kept} of them were processed"));
    }
    if slow(503) > AT_ONCE {
        report.failures.push(format!("what is not taken was refused only after {:?}", slow(503)));
    }
    if (taken as f64) < capacity * seconds * 0.3 {
        report.failures.push("little was taken: the refused cost too much".to_owned());
    }
    if (finished as f64) < seconds * 20.0 {
        report.failures.push("the workers starved".to_owned());
    }
    report
}

/// What it takes a second when sixteen send, each as soon as the one before is answered.
async fn how_much(site: &Site) -> f64 {
    let began = Instant::now();
    let senders = (0..16).map(|sender| {
        let address = site.address();
        tokio::spawn(async move {
            let (idle, mut taken) = (Mutex::default(), 0);
            while began.elapsed() < Duration::from_secs(3) {
                let status = ask(&idle, &address, &request(&format!("closed_{sender}"), taken)).await;
                assert_eq!(status.unwrap(), 200);
                taken += 1;
            }
            taken
        })
    });
    let taken: usize = futures::future::join_all(senders).await.into_iter().map(Result::unwrap).sum();
    taken as f64 / began.elapsed().as_secs_f64()
}

async fn load(site: &Site, name: &'static str, rate: f64, length: Duration) -> Vec<Shot> {
    let address = site.address();
    // A thread and a runtime of its own: the pace must not depend on what else happens in here.
    let firing = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(fire(&address, rate, length, move |number| request(name, number)))
    });
    tokio::task::spawn_blocking(|| firing.join().unwrap()).await.unwrap()
}

fn request(name: &str, number: usize) -> Vec<u8> {
    let customer = format!("cus_load_{}", number % 200);
    let at = day(1) + i64::try_from(number).unwrap();
    let body = event(
        &format!("load_{name}_{number}"),
        "customer.subscription.updated",
        at,
        subscription(&customer, "active", "price_pro", day(60)),
    )
    .to_string();
    let signature = Secrets::parse(SECRET).unwrap().sign(body.as_bytes(), now());
    format!(
        "POST /webhooks/stripe HTTP/1.1\r\nHost: x\r\nStripe-Signature: {signature}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

async fn finished_load(site: &Site, like: &str) -> usize {
    let count = "select cast(count(*) as text) from stripe_events where status = 'processed' and id like";
    site.query(&format!("{count} '{like}'")).await[0].parse().unwrap()
}
