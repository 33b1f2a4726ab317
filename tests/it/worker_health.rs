//! A worker that is asked how it does.

use crate::bodies::purchase;
use crate::harness::{Site, eventually, free_port, on_both};

on_both!(a_worker_tells_how_it_does_where_it_is_to);

async fn a_worker_tells_how_it_does_where_it_is_to(mut site: Site) {
    let address = format!("127.0.0.1:{}", free_port());
    site.set("METRICS_ADDR", &address);
    site.ok(&["workspaces", "put", "acme", "--owner-email", "ann@example.com"]);
    site.start_web().await;
    site.start(&["worker"]);
    site.post_all(&purchase("acme", "cus_1")).await;
    site.settle().await;
    let ask = async |path: &str| {
        let answer = reqwest::get(format!("http://{address}{path}")).await.ok()?;
        answer.status().is_success().then_some(answer)?.text().await.ok()
    };
    eventually("it is ready", async || ask("/readyz").await).await;
    eventually("it says what it did", async || {
        let text = ask("/metrics").await?;
        let processed = "billingd_events_total{outcome=\"processed\"} 4";
        (text.contains(processed) && text.contains("billingd_job_seconds_bucket")).then_some(())
    })
    .await;
    assert!(ask("/webhooks/stripe").await.is_none(), "it receives nothing");
    let ended = site.stop("worker").await;
    assert!(ended.iter().all(std::process::ExitStatus::success), "{ended:?}");
}
