//! The mail server is down, slow, rate-limiting, or answers garbage. Events go on at full speed; mails wait.

use crate::harness::{On, Site};
use crate::manner::Manner;
use crate::stage::{Report, Stage, Wish};

pub(super) async fn play(on: On, wish: Wish) -> Report {
    let mut stage = Stage::new(Site::new(on).await, wish).await;
    stage.start().await;
    stage.unhurt = true;
    stage
        .through(async |_, mailbox| {
            for manner in [Manner::Down, Manner::Slow, Manner::RateLimiting, Manner::Garbage] {
                mailbox.behave(manner);
                tokio::time::sleep(wish.seconds(3, 30)).await;
            }
            mailbox.behave(Manner::Good);
        })
        .await
}
