//! The numbers that the module's documentation states, computed.

use protocol::seed::{Draw, Seed};

/// The chance that `k` given slots in a row all belong to `held` of `seats` seats, in a random order.
fn in_a_row(seats: u32, held: u32, k: u32) -> f64 {
    (0..k).map(|i| f64::from(held.saturating_sub(i)) / f64::from(seats - i)).product()
}

/// Ways to choose `k` of `n`.
fn choose(n: u32, k: u32) -> f64 {
    (0..k).map(|i| f64::from(n - i) / f64::from(i + 1)).product()
}

/// The chance that a rail without the share `missing` of its bytes passes the five positions of an epoch.
fn passes(missing: f64) -> f64 {
    (1.0 - missing).powi(5)
}

/// The share of `rails` such rails that passes under the best of `seeds` seeds, on average: the mean of the
/// largest of as many binomial numbers.
fn best_share(seeds: i32, rails: u32, missing: f64) -> f64 {
    let pass = passes(missing);
    let (mut below, mut mean, mut before) = (0.0, 0.0, 0.0);
    for passing in 0..=rails {
        let failing = i32::try_from(rails - passing).unwrap();
        below += choose(rails, passing)
            * pass.powi(i32::try_from(passing).unwrap())
            * (1.0 - pass).powi(failing);
        let largest = f64::min(below, 1.0).powi(seeds);
        mean += f64::from(passing) * (largest - before);
        before = largest;
    }
    mean / f64::from(rails)
}

/// The longest run of held seats in a cycle of leaders.
fn longest(cycle: &[bool]) -> usize {
    let (mut longest, mut run) = (0, 0);
    for held in cycle.iter().chain(cycle) {
        run = if *held { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    longest.min(cycle.len())
}

/// A random order of `seats` seats of which `held` are held.
fn order(draw: &mut Draw, seats: usize, held: usize) -> Vec<bool> {
    let mut order: Vec<bool> = (0..seats).map(|seat| seat < held).collect();
    for last in (1..seats).rev() {
        let other = draw.below(u64::try_from(last + 1).unwrap());
        order.swap(last, usize::try_from(other).unwrap());
    }
    order
}

/// Median and 99th percentile of the longest run over random orders.
fn runs(seats: usize, held: usize) -> (usize, usize) {
    let mut draw = Seed([7; 32]).draw("orders", &[]);
    let mut runs: Vec<_> = (0..4_000).map(|_| longest(&order(&mut draw, seats, held))).collect();
    runs.sort_unstable();
    (runs[2_000], runs[3_960])
}

fn near(value: f64, stated: f64) {
    assert!((value - stated).abs() < 0.0005, "{value} is not {stated}");
}

#[test]
fn the_last_slots_are_rarely_in_one_hand() {
    for (k, stated) in [(1, 0.330), (2, 0.107), (3, 0.034), (4, 0.010), (5, 0.003)] {
        near(in_a_row(100, 33, k), stated);
    }
    near(in_a_row(7, 2, 2), 0.048);
    near(in_a_row(4, 1, 2), 0.0);
}

#[test]
fn the_longest_run_is_about_the_logarithm_of_the_seats() {
    assert_eq!(runs(7, 2), (1, 2));
    assert_eq!(runs(21, 6), (2, 4));
    assert_eq!(runs(100, 33), (4, 7));
    assert_eq!(runs(100, 10), (2, 3));
    assert_eq!(runs(100, 5), (1, 2));
}

#[test]
fn a_run_chooses_among_fewer_seeds_than_its_subsets() {
    // With m heights to fill in k slots of its own, the ways to fill them; all m together are less than 2^k.
    for k in 1..=10u32 {
        let most = (1..=k).map(|m| choose(k, m)).fold(0.0, f64::max);
        assert!(most <= 2f64.powi(i32::try_from(k).unwrap()) / 2.0 || k == 1);
        let all: f64 = (1..=k).map(|m| choose(k, m)).sum();
        assert!((all + 1.0 - 2f64.powi(i32::try_from(k).unwrap())).abs() < 1e-6);
    }
    near(choose(4, 2), 6.0);
    near(choose(7, 3), 35.0);
}

#[test]
fn choosing_a_seed_saves_less_than_a_rail() {
    // One rail: honest luck, then two, 16 and 128 seeds.
    for (seeds, tenth, fifth, half) in [
        (1, 0.590, 0.328, 0.031),
        (2, 0.832, 0.548, 0.062),
        (16, 1.000, 0.998, 0.398),
        (128, 1.000, 1.000, 0.983),
    ] {
        near(best_share(seeds, 1, 0.1), tenth);
        near(best_share(seeds, 1, 0.2), fifth);
        near(best_share(seeds, 1, 0.5), half);
    }
    // A hundred rails at once.
    near(best_share(16, 100, 0.2), 0.412);
    // It pays as long as the share of lost pay stays below the share of bytes that are not kept.
    let most = |seeds: i32, missing: f64| {
        (1..=40).filter(|rails| best_share(seeds, *rails, missing) >= 1.0 - missing).max()
    };
    assert_eq!([0.1, 0.2, 0.5].map(|missing| most(1, missing)), [None, None, None]);
    assert_eq!([0.1, 0.2, 0.5].map(|missing| most(16, missing)), [Some(6), Some(3), None]);
    assert_eq!([0.1, 0.2, 0.5].map(|missing| most(128, missing)), [Some(14), Some(6), Some(2)]);
}
