//! Bodies that others have published, where they lie beside the repository.

use std::path::{Path, PathBuf};

use super::*;

fn bodies_under(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            bodies_under(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "json") {
            found.push(path);
        }
    }
}

#[test]
fn every_published_body_is_read_or_says_what_it_lacks() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/payloads");
    let mut found = Vec::new();
    bodies_under(&dir, &mut found);
    let mut told = 0;
    for path in &found {
        let text = std::fs::read_to_string(path).unwrap();
        let Ok(body) = serde_json::from_str::<Value>(&text) else { continue };
        match read(&body, &catalogue(), &Answers::default()) {
            Ok(Reading::Facts { .. }) => told += 1,
            Ok(_) => {}
            Err(unreadable) => {
                let reason = unreadable.to_string();
                if reason.ends_with("there is no STRIPE_API_KEY to ask with") || reason.contains("names neither") {
                    continue;
                }
                assert!(reason.ends_with(": is missing"), "{}: {reason}", path.display());
                let pointer = format!("/{}", unreadable.path.trim_start_matches("event.").replace('.', "/"));
                assert!(body.pointer(&pointer).is_none_or(Value::is_null), "{}: {reason}", path.display());
            }
        }
    }
    assert!(found.is_empty() || told > 80, "{told} of {}", found.len());
}
