//! Real bodies of other people's, where they are at hand: none may be refused, none may be lost.

use std::path::{Path, PathBuf};

use crate::harness::{Site, on_both};

on_both!(every_known_body_is_answered_and_finished);

fn bodies(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            bodies(&path, found);
        } else if path.extension().is_some_and(|kind| kind == "json") {
            found.push(path);
        }
    }
}

async fn every_known_body_is_answered_and_finished(mut site: Site) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/payloads");
    if !folder.exists() {
        eprintln!("the collection of bodies is not here; nothing to post");
        return;
    }
    site.start_web().await;
    site.start(&["worker"]);
    let mut paths = Vec::new();
    bodies(&folder, &mut paths);
    assert!(paths.len() > 300, "{}", paths.len());
    for path in &paths {
        let (status, answer) = site.post_text(&std::fs::read_to_string(path).unwrap()).await;
        assert_eq!(status, 200, "{}: {answer}", path.display());
    }
    for event in site.settle().await {
        if event["status"] == "dead" {
            let reason = event["last_error"].as_str().unwrap();
            // Sold without saying what: there is nobody to ask in this test.
            assert!(event["type"].as_str().unwrap().starts_with("checkout.session."), "{event}");
            assert!(reason.contains("plan of this one-time purchase is unknown"), "{event}");
        }
    }
}
