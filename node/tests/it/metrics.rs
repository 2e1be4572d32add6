//! `/metrics` of a running `up`: every part is in it, and all of it is what Prometheus reads.

use crate::program::Program;
use client::Client;
use std::collections::{BTreeMap, BTreeSet};
use wayleave::http::Http;

/// A family of every part.
const EXPECTED: [&str; 11] = [
    "process_start_time_seconds",
    "wayleave_agent_carried_total",
    "wayleave_agent_outbox",
    "wayleave_block_height",
    "wayleave_engine_runtime_process_rss",
    "wayleave_evidence_total",
    "wayleave_ledger_height",
    "wayleave_s3_objects",
    "wayleave_s3_requests_total",
    "wayleave_storage_bytes",
    "wayleave_transport_requests_total",
];

#[test]
fn one_endpoint_shows_every_part_as_prometheus_reads_it() {
    let home = tempfile::tempdir().unwrap();
    let mut program = Program::new(home.path());
    program.start();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let [_, rpc, ..] = program.at();
        let client = Client::connect(&rpc).await.unwrap();
        let mut heights = client.follow(client.head().await.unwrap());
        let url = format!("{}/metrics", program.control());
        // A figure appears with the first thing that is measured, which takes some blocks.
        for _ in 0..200 {
            let text = Http::new().get(&url).await.unwrap();
            let families = parse(std::str::from_utf8(&text).unwrap());
            if EXPECTED.iter().all(|name| families.contains_key(*name)) {
                return;
            }
            heights.next().await;
        }
        panic!("not all families of {EXPECTED:?} appeared within 200 blocks");
    });
}

#[derive(Debug, Default)]
struct Family {
    kind: String,
    series: BTreeSet<String>,
}

/// Reads the text format 0.0.4 and refuses what Prometheus would not read, or would read otherwise.
fn parse(text: &str) -> BTreeMap<String, Family> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let (mut helped, mut current) = (BTreeSet::new(), String::new());
    assert!(text.ends_with('\n'), "the last line does not end");
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, meaning) = rest.split_once(' ').unwrap();
            assert!(!meaning.is_empty(), "{line}");
            assert!(helped.insert(name.to_owned()), "told twice: {line}");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(["counter", "gauge", "histogram", "summary"].contains(&kind), "{line}");
            assert_eq!(name.ends_with("_total"), kind == "counter", "{line}");
            assert!(helped.contains(name), "nothing says what {name} is");
            let family = Family { kind: kind.to_owned(), ..Family::default() };
            assert!(families.insert(name.to_owned(), family).is_none(), "typed twice: {line}");
            name.clone_into(&mut current);
        } else {
            assert!(!line.starts_with('#'), "{line}");
            let (series, value) = line.rsplit_once(' ').unwrap();
            assert!(value.parse::<f64>().is_ok(), "no number: {line}");
            let (name, labels) = series.split_once('{').map_or((series, ""), |(n, l)| (n, l));
            check_name(name, line);
            assert!(labels.is_empty() || labels.ends_with('}'), "{line}");
            let family = families.get_mut(&current).unwrap();
            let own = match family.kind.as_str() {
                "histogram" => ["_bucket", "_sum", "_count"]
                    .iter()
                    .any(|part| name.strip_suffix(part) == Some(current.as_str())),
                _ => name == current,
            };
            assert!(own, "not of family {current}: {line}");
            assert!(family.series.insert(series.to_owned()), "twice: {line}");
        }
    }
    families
}

fn check_name(name: &str, line: &str) {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':';
    assert!(name.bytes().all(fine) && !name.starts_with(|c: char| c.is_ascii_digit()), "{line}");
}
