use super::*;
use proptest::prelude::*;
use serde_json::Value;

const VECTORS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../vectors/storage/segment_health_and_reputation.json"
);

fn vectors() -> Value {
    serde_json::from_str(&std::fs::read_to_string(VECTORS).unwrap()).unwrap()
}

/// [healthy, needed, nodes, failures a node and day, and sometimes shards that must move].
fn read(args: &Value) -> (Segment, Population) {
    let number =
        |at: usize| u32::try_from(args.get(at).map_or(0, |value| value.as_u64().unwrap())).unwrap();
    // Exact, as text: 5.435e-05 is 54,350 parts of 10^9.
    let failure_ppb = match args[3].to_string().as_str() {
        "0.01" => 10_000_000,
        "0.00005435" | "5.435e-5" | "5.435e-05" => 54_350,
        other => panic!("unknown failure rate {other}"),
    };
    let segment = Segment { healthy: number(0), needed: number(1), moving: number(4) };
    (segment, Population { nodes: number(2), failure_ppb })
}

fn days(args: &Value) -> u64 {
    let (segment, population) = read(args);
    segment.millidays(&population)
}

#[test]
fn published_values_hold() {
    let vectors = vectors();
    let mut checked = 0;
    for value in vectors["values"].as_array().unwrap() {
        if value["fn"] != "segmentHealthNHD" {
            continue;
        }
        let millidays = days(&value["args"]);
        let rounded = (millidays + DAY / 2) / DAY;
        match value["expected_rounded"].as_u64() {
            Some(expected) => assert_eq!(rounded, expected),
            None => assert_eq!(millidays, 0),
        }
        checked += 1;
    }
    assert_eq!(checked, 3);
}

#[test]
fn published_orderings_hold() {
    let vectors = vectors();
    let key = "order_of_SegmentHealth(healthy,min,totalNodes,failureRate,forcingRepair)";
    let orders = vectors[key].as_array().unwrap();
    assert_eq!(orders.len(), 9);
    for order in orders {
        let (pair, less) = match (&order["lt"], &order["gt"]) {
            (Value::Null, gt) => (gt, false),
            (lt, _) => (lt, true),
        };
        let (a, b) = (days(&pair[0]), days(&pair[1]));
        assert!(if less { a < b } else { a > b }, "{order}: {a} and {b}");
    }
}

#[test]
fn the_edges_are_named() {
    let population = Population { nodes: 8, failure_ppb: 1_000_000 };
    let segment = |healthy, needed| Segment { healthy, needed, moving: 0 };
    assert_eq!(segment(3, 4).millidays(&population), 0);
    assert!(segment(4, 4).millidays(&population) > 0);
    let never = Population { failure_ppb: 0, ..population };
    assert_eq!(segment(4, 4).millidays(&never), u64::MAX);
    let nobody = Population { nodes: 0, ..population };
    assert_eq!(segment(0, 0).millidays(&nobody), u64::MAX);
    let largest = Segment { healthy: u32::MAX, needed: 0, moving: u32::MAX };
    let all = Population { nodes: u32::MAX, failure_ppb: u32::MAX };
    assert_eq!(largest.millidays(&all), 0);
}

#[test]
fn the_outlook_is_the_mean_time_to_data_loss_of_a_mirror() {
    // Two copies, one needed: (3 f + r) / (2 f^2), the published case. f is 1/1000, r is 10 a day.
    let rates = Rates { failure_ppb: 1_000_000, repair_ppm: 10_000_000 };
    assert_eq!(outlook(1, 2, 2, &rates), 5_001_500 * DAY);
    // With one copy left it is the same less the time to the first loss, 1 / (2 f).
    assert_eq!(outlook(1, 2, 1, &rates), 5_001_000 * DAY);
    // Without repair the losses of 6, 5 and 4 shards follow one another.
    let never = Rates { failure_ppb: 1_000_000, repair_ppm: 0 };
    assert_eq!(outlook(4, 6, 6, &never), (166_666 + 200_000 + 250_000));
    assert_eq!(outlook(4, 6, 3, &rates), 0);
    assert_eq!(outlook(4, 6, 6, &Rates { failure_ppb: 0, ..rates }), u64::MAX);
    // 29 of 80 under repair outlives what can be counted, and does not overflow.
    assert_eq!(outlook(29, 80, 80, &Rates { failure_ppb: 54_350, ..rates }), u64::MAX);
    assert!(outlook(0, 255, 255, &Rates { failure_ppb: u32::MAX, repair_ppm: u32::MAX }) > 0);
}

proptest! {
    #[test]
    fn the_outlook_is_better_with_more_shards_more_repair_and_fewer_failures(
        needed in 1u8..40, spare in 0u8..50, lost in 0u8..50,
        failure_ppb in 1u32..100_000_000, repair_ppm in 0u32..10_000_000,
    ) {
        let (total, alive) = (needed + spare, needed + spare.saturating_sub(lost));
        let rates = Rates { failure_ppb, repair_ppm };
        let days = outlook(needed, total, alive, &rates);
        prop_assert!(days <= outlook(needed, total, (alive + 1).min(total), &rates));
        let more = Rates { repair_ppm: repair_ppm + 1, ..rates };
        prop_assert!(days <= outlook(needed, total, alive, &more));
        let worse = Rates { failure_ppb: failure_ppb + 1, ..rates };
        prop_assert!(days >= outlook(needed, total, alive, &worse));
    }

    #[test]
    fn one_more_shard_is_never_worse_and_one_more_needed_never_better(
        needed in 1u32..100, spare in 0u32..100, nodes in 300u32..1_000_000,
        failure_ppb in 1u32..100_000_000, moving in 0u32..10,
    ) {
        let population = Population { nodes, failure_ppb };
        let healthy = needed + spare;
        let at = |healthy, needed, moving| Segment { healthy, needed, moving }.millidays(&population);
        prop_assert!(at(healthy, needed, moving) <= at(healthy + 1, needed, moving));
        prop_assert!(at(healthy, needed, moving) >= at(healthy, needed + 1, moving));
        prop_assert!(at(healthy, needed, moving) >= at(healthy, needed, moving + 1));
    }

    #[test]
    fn the_integers_follow_the_published_formula(
        needed in 1u32..100, spare in 0u32..100, nodes in 300u32..1_000_000,
        failure_ppb in 1_000u32..100_000_000,
    ) {
        let healthy = needed + spare;
        let (n, h, f) = (f64::from(nodes), f64::from(healthy), f64::from(failure_ppb) / 1e9);
        let (r, k) = (f64::from(spare) + 1.0, n - h);
        let days = r * (k / (n - k + 1.0) + 1.0) / (n * f);
        let ours = Segment { healthy, needed, moving: 0 }
            .millidays(&Population { nodes, failure_ppb });
        let difference = days * 1_000.0 - f64::from(u32::try_from(ours).unwrap_or(u32::MAX));
        prop_assert!(ours > u64::from(u32::MAX) || (-0.01..1.01).contains(&difference));
    }
}
