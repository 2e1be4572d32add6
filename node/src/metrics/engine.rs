//! The ledger engine's metrics, from OpenMetrics to Prometheus' text format.
//!
//! The two differ in what Prometheus reads wrongly or not at all: a counter's family lacks the
//! `_total` of its samples, units have a line, some types have other names, and the document has an
//! end. Every name gets a prefix that tells whose it is, and a family that the engine lists in several
//! places becomes one, as the format wants it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

/// What the names of the engine's families begin with.
const PREFIX: &str = "wayleave_engine_";

/// What the program itself reads off the engine's document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Glance {
    /// Nodes connected.
    pub(crate) peers: u64,
    /// The last height known to be final.
    pub(crate) finalized: u64,
}

/// Reads it.
pub(crate) fn glance(openmetrics: &str) -> Glance {
    let mut glance = Glance::default();
    for line in openmetrics.lines().filter(|line| !line.starts_with('#')) {
        let Some((series, value)) = line.rsplit_once(' ') else { continue };
        let name = series.split('{').next().unwrap_or(series);
        if name.ends_with("tracker_directory_connected") {
            glance.peers += 1;
        } else if name.ends_with("marshal_finalized_height") {
            glance.finalized = glance.finalized.max(value.parse().unwrap_or(0));
        }
    }
    glance
}

#[derive(Debug, Default)]
struct Family {
    help: String,
    kind: String,
    samples: Vec<String>,
    /// Names and labels of the samples, as none may come twice.
    series: BTreeSet<String>,
}

/// Translates a document.
pub(super) fn translate(openmetrics: &str) -> String {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let (mut name, mut help) = ("", "");
    let mut target = String::new();
    for line in openmetrics.lines().filter(|line| !line.is_empty()) {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            (name, help) = rest.split_once(' ').unwrap_or((rest, ""));
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (typed, kind) = rest.split_once(' ').unwrap_or((rest, "unknown"));
            target = named(typed, kind);
            let family = families.entry(target.clone()).or_default();
            kind_of(kind).clone_into(&mut family.kind);
            if typed == name {
                help.clone_into(&mut family.help);
            }
        } else if !line.starts_with('#')
            && let Some(family) = families.get_mut(&target)
        {
            // A sample may be followed by an exemplar, which this format does not have.
            let sample = line.split(" # ").next().unwrap_or(line);
            let (series, value) = sample.rsplit_once(' ').unwrap_or((sample, "NaN"));
            let series = renamed(series, &family.kind);
            if family.series.insert(series.clone()) {
                family.samples.push(format!("{series} {value}"));
            }
        }
    }
    let mut text = String::new();
    for (name, family) in families.iter().filter(|(_, family)| !family.samples.is_empty()) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "# HELP {name} {}", family.help);
        let _ = writeln!(text, "# TYPE {name} {}", family.kind);
        for sample in &family.samples {
            let _ = writeln!(text, "{sample}");
        }
        text.push('\n');
    }
    text
}

/// The family's name here.
fn named(name: &str, kind: &str) -> String {
    let suffix = match kind {
        "counter" => "_total",
        "info" => "_info",
        "histogram" => seconds(name),
        _ => "",
    };
    format!("{PREFIX}{name}{suffix}")
}

/// What the name of a histogram lacks: the engine measures times in seconds and does not say so.
fn seconds(name: &str) -> &'static str {
    if name.contains("duration") || name.contains("latency") { "_seconds" } else { "" }
}

/// A sample's name and labels here.
fn renamed(series: &str, kind: &str) -> String {
    let end = series.find('{').unwrap_or(series.len());
    let (name, labels) = series.split_at(end);
    let part = ["_bucket", "_sum", "_count"].into_iter().find(|part| name.ends_with(part));
    match (kind, part) {
        ("histogram", Some(part)) => {
            let base = name.strip_suffix(part).unwrap_or(name);
            format!("{PREFIX}{base}{}{part}{labels}", seconds(base))
        }
        _ => format!("{PREFIX}{series}"),
    }
}

fn kind_of(openmetrics: &str) -> &str {
    match openmetrics {
        "counter" | "gauge" | "histogram" | "summary" => openmetrics,
        "info" | "stateset" => "gauge",
        _ => "untyped",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_and_the_last_final_height_are_read_off_the_document() {
        let text = "# HELP network_tracker_directory_connected Unix time\n\
            network_tracker_directory_connected{peer=\"a\"} 1795219230056\n\
            network_tracker_directory_connected{peer=\"b\"} 1795219231068\n\
            network_tracker_directory_tracked 3\n\
            marshal_finalized_height 164\n# EOF\n";
        assert_eq!(glance(text), Glance { peers: 2, finalized: 164 });
        assert_eq!(glance(""), Glance::default());
    }

    #[test]
    fn families_become_prometheus_families() {
        let engine = "\
# HELP votes Votes seen.
# TYPE votes counter
votes_total{peer=\"a b\"} 3
votes_total{peer=\"c\"} 4 # {trace=\"x\"} 1
# HELP disk_bytes Bytes on disk.
# TYPE disk_bytes gauge
# UNIT disk_bytes bytes
disk_bytes 7
# HELP votes Votes seen.
# TYPE votes counter
votes_total{peer=\"d\"} 5
votes_total{peer=\"c\"} 6
# HELP build_duration Time to build.
# TYPE build_duration histogram
build_duration_bucket{le=\"0.1\",seat=\"0\"} 1
build_duration_bucket{le=\"+Inf\",seat=\"0\"} 2
build_duration_sum{seat=\"0\"} 0.7
build_duration_count{seat=\"0\"} 2
# HELP empty Never measured.
# TYPE empty gauge
# HELP build What runs.
# TYPE build info
build_info{version=\"1\"} 1
# EOF
";
        assert_eq!(
            translate(engine),
            "\
# HELP wayleave_engine_build_duration_seconds Time to build.
# TYPE wayleave_engine_build_duration_seconds histogram
wayleave_engine_build_duration_seconds_bucket{le=\"0.1\",seat=\"0\"} 1
wayleave_engine_build_duration_seconds_bucket{le=\"+Inf\",seat=\"0\"} 2
wayleave_engine_build_duration_seconds_sum{seat=\"0\"} 0.7
wayleave_engine_build_duration_seconds_count{seat=\"0\"} 2

# HELP wayleave_engine_build_info What runs.
# TYPE wayleave_engine_build_info gauge
wayleave_engine_build_info{version=\"1\"} 1

# HELP wayleave_engine_disk_bytes Bytes on disk.
# TYPE wayleave_engine_disk_bytes gauge
wayleave_engine_disk_bytes 7

# HELP wayleave_engine_votes_total Votes seen.
# TYPE wayleave_engine_votes_total counter
wayleave_engine_votes_total{peer=\"a b\"} 3
wayleave_engine_votes_total{peer=\"c\"} 4
wayleave_engine_votes_total{peer=\"d\"} 5

"
        );
    }
}
