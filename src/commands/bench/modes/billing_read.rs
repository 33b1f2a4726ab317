//! Reading a workspace's billing through the API, in a closed loop. The tokens name the owner, which is the dearer of the
//! two ways: the API looks up who is a member.

use std::sync::Arc;

use billing::Clock;
use comfy_table::Table;
use jsonwebtoken::{EncodingKey, Header, encode};
use serde::Serialize;
use serde_json::json;

use super::super::driver::{Requests, closed};
use super::super::latencies::Latencies;
use super::super::report::{STOLEN, or_dash, row, stolen};
use super::Bench;
use crate::output;
use crate::progress::Progress;

/// Tokens outlive the bench.
const TOKEN_SECONDS: i64 = 24 * 3600;

#[derive(Serialize)]
pub(in super::super) struct Figures {
    workspaces: u32,
    reads: u32,
    levels: Vec<Level>,
    api_peak_memory_mib: Option<f64>,
}

#[derive(Serialize)]
struct Level {
    connections: u16,
    reads_per_second: f64,
    stolen_percent: Option<f64>,
    read_ms: Latencies,
}

/// One request for each workspace, to be repeated.
struct Reads {
    requests: Vec<String>,
    count: usize,
}

impl Requests for Reads {
    fn count(&self) -> usize {
        self.count
    }

    fn write(&self, index: usize, into: &mut Vec<u8>) {
        // The stride spreads what comes one after the other over the whole directory.
        if let Some(request) = self.requests.get(index.wrapping_mul(7919) % self.requests.len()) {
            into.extend_from_slice(request.as_bytes());
        }
    }
}

pub(super) async fn measure(bench: &Bench<'_>) -> anyhow::Result<Figures> {
    let secret = billing::clock::new_id();
    let key = EncodingKey::from_secret(secret.as_bytes());
    let expires_at = Clock::system().now().timestamp() + TOKEN_SECONDS;
    let request = |index: u32| {
        let token =
            encode(&Header::default(), &json!({"sub": format!("bench-user-{index}"), "exp": expires_at}), &key)?;
        anyhow::Ok(format!(
            "GET /v1/workspaces/bench-{index}/billing HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {token}\r\n\r\n"
        ))
    };
    let requests = (0..bench.workspaces).map(request).collect::<anyhow::Result<_>>()?;
    let reads = Arc::new(Reads { requests, count: bench.args.events as usize });

    let (api, address) = bench.scratch.serve("api", &[("JWT_SECRET", &secret)]).await?;
    let mut levels = Vec::new();
    for connections in bench.connections() {
        let what = format!("reading over {connections} connections");
        let progress = Arc::new(Progress::counting(what, reads.count as u64));
        let read = closed(&reads, address, connections.into(), &progress).await?;
        levels.push(Level {
            connections,
            reads_per_second: read.per_second(),
            stolen_percent: read.took.stolen_percent,
            read_ms: Latencies::of(read.latencies),
        });
    }
    let api_peak_memory_mib = api.peak_memory_mib();
    api.stop().await?;
    Ok(Figures { workspaces: bench.workspaces, reads: bench.args.events, levels, api_peak_memory_mib })
}

impl Figures {
    pub(super) fn tables(&self) -> Vec<Table> {
        let [p50, p99, max] = Latencies::headings("answered");
        let mut table = output::table(&["connections", "reads", "read (workspaces/s)", STOLEN, &p50, &p99, &max]);
        for level in &self.levels {
            let mut cells = vec![
                level.connections.to_string(),
                self.reads.to_string(),
                or_dash(Some(level.reads_per_second)),
                stolen(level.stolen_percent),
            ];
            cells.extend(level.read_ms.cells());
            table.add_row(cells);
        }
        vec![table, row(vec![("peak memory of api (MiB)".to_owned(), or_dash(self.api_peak_memory_mib))])]
    }
}
