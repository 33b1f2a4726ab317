//! What `bench` prints: every mode has its figures, and nothing stays behind. How good they are is no matter of a test.

use serde_json::Value;

use crate::harness::{On, Site, on_both};

on_both!(every_mode_has_its_figures, what_is_stored_is_there, nothing_stays_behind);

/// As small as it goes.
const SMALL: [&str; 8] = ["--events", "100", "--workspaces", "40", "--seconds", "1", "--yardstick-seconds", "0"];

fn bench(site: &Site, args: &[&str]) -> Value {
    site.json(&[&["bench"], args].concat())
}

/// The number at this pointer, which has to be above zero.
fn figure(report: &Value, pointer: &str) -> f64 {
    let found = report.pointer(pointer).and_then(Value::as_f64);
    let found = found.unwrap_or_else(|| panic!("{pointer} is no number in {report:#}"));
    assert!(found > 0.0, "{pointer} is {found}");
    found
}

async fn every_mode_has_its_figures(site: Site) {
    for (mode, pointers) in [
        (
            "all",
            &[
                "/accepted_per_second",
                "/accept_ms/p50",
                "/accept_ms/p99",
                "/processed_per_second",
                "/end_to_end_idle_ms/p50",
                "/end_to_end_idle_ms/max",
                "/web_peak_memory_mib",
                "/worker_peak_memory_mib",
                "/concurrency",
            ][..],
        ),
        (
            "ingest",
            &[
                "/closed/0/accepted_per_second",
                "/closed/1/accept_ms/p90",
                "/closed/2/accept_ms/p99",
                "/open/rate_per_second",
                "/open/accepted_per_second",
                "/open/accept_ms/p99",
            ],
        ),
        (
            "process",
            &["/processed_per_second", "/runs/0/processed_per_second", "/runs/1/processed_per_second", "/two_to_one"],
        ),
        (
            "end-to-end",
            &[
                "/end_to_end_idle_ms/p99",
                "/capacity_per_second",
                "/half_load/rate_per_second",
                "/half_load/accept_ms/p99",
                "/end_to_end_half_load_ms/p50",
                "/end_to_end_half_load_ms/p99",
                "/samples",
            ],
        ),
        ("mail", &["/mails_per_second", "/connections", "/worker_peak_memory_mib"]),
        ("sweep", &["/sweep_seconds", "/trials_per_second", "/worker_peak_memory_mib"]),
        (
            "billing-read",
            &["/levels/0/reads_per_second", "/levels/1/read_ms/p50", "/levels/2/read_ms/p99", "/api_peak_memory_mib"],
        ),
    ] {
        let report = bench(&site, &[&["--mode", mode], &SMALL[..]].concat());
        assert_eq!(report["mode"], mode);
        for pointer in pointers.iter().chain(&["/cores"]) {
            figure(&report, pointer);
        }
        assert!(report["yardstick_per_second"].is_null(), "it was not asked for");
        assert_eq!(report["workspaces"], 40);
        let taken = |pointer: &str| report.pointer(pointer).is_some_and(Value::is_f64);
        match mode {
            "all" => assert!(taken("/accepted_stolen_percent") && taken("/processed_stolen_percent"), "{report:#}"),
            "end-to-end" => assert!(taken("/half_load/stolen_percent"), "{report:#}"),
            "sweep" => assert_eq!(report["due"], 2, "one of twenty"),
            "mail" => assert_eq!(report["mails"], 100),
            _ => {}
        }
    }
}

async fn what_is_stored_is_there(site: Site) {
    let report = bench(&site, &[&SMALL[..6], &["--stored", "2500", "--yardstick-seconds", "1"]].concat());
    assert_eq!(report["stored"], 2500);
    let yardstick = figure(&report, "/yardstick_per_second");
    let ratio = figure(&report, "/accepted_per_second") / yardstick;
    assert!((figure(&report, "/accepted_to_yardstick") - ratio).abs() < 1e-6);
    figure(&report, "/fsync_per_second");
    figure(&report, "/verify_per_second");
    assert_eq!(report["engine"], if site.on == On::Postgres { "postgres" } else { "sqlite" });
    let setting = if site.on == On::Postgres { "synchronous_commit" } else { "synchronous" };
    assert!(report["settings"][setting].is_string(), "{report:#}");
    assert!(!report["database"].as_str().unwrap().contains('@'), "no secrets");
}

async fn nothing_stays_behind(site: Site) {
    let table = site.ok(&[&["bench", "--format", "table", "--mode", "sweep"], &SMALL[..]].concat());
    for heading in
        ["fdatasync (8 KiB appends/s)", "swept in (s)", "stolen by the host (%)", "peak memory of worker (MiB)"]
    {
        assert!(table.contains(heading), "{table}");
    }
    for (args, says) in [
        (&["--events", "100", "--concurrency", "200"][..], "--concurrency"),
        (&["--workspaces", "200000"], "--workspaces"),
        (&["--format", "table", "--json"], "--json"),
    ] {
        let output = site.run(&[&["bench"], args].concat());
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(says), "{output:?}");
    }
    match site.on {
        On::Postgres => {
            let left = "select nspname::text from pg_namespace where nspname like '%bench%'
                        union all select id from apalis.jobs where job_type like '%bench%'";
            assert!(site.query(left).await.is_empty());
        }
        On::Sqlite => {
            let left = std::fs::read_dir(site.dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
            assert!(!left.into_iter().any(|name| name.to_string_lossy().contains("bench")));
        }
    }
}
