use super::*;

fn all(turns: &mut Turns, networks: u64, height: u64) -> Vec<u64> {
    std::iter::from_fn(|| turns.next(networks, Height(height))).map(|network| network.0).collect()
}

#[tokio::test(start_paused = true)]
async fn each_network_has_its_turn_with_each_block_and_a_slow_one_holds_up_nobody() {
    let mut turns = Turns::default();
    assert_eq!(all(&mut turns, 3, 7), [1, 2, 3]);
    // The second is slow; the others are done, and are attended to with the next block alone.
    turns.done(NetworkId(1), false);
    turns.done(NetworkId(3), false);
    assert_eq!(all(&mut turns, 3, 7), [0u64; 0]);
    assert_eq!(all(&mut turns, 3, 8), [1, 3]);
    // Once the slow one is done, it does not wait for another block.
    turns.done(NetworkId(2), false);
    assert_eq!(all(&mut turns, 3, 8), [2]);
    // One that failed rests, and another one that is founded begins.
    turns.done(NetworkId(1), true);
    assert_eq!(all(&mut turns, 4, 9), [4]);
    tokio::time::advance(RETRY).await;
    assert_eq!(all(&mut turns, 4, 9), [1]);
    // Who was not last goes first.
    for network in 1..=4 {
        turns.done(NetworkId(network), false);
    }
    assert_eq!(turns.next(4, Height(10)), Some(NetworkId(2)));
    assert_eq!(all(&mut turns, 4, 10), [3, 4, 1]);
}

#[tokio::test]
async fn one_replays_at_a_time_and_whoever_waits_is_counted() {
    let replays = Replays::default();
    let first = replays.turn().await;
    let mut second = Box::pin(replays.turn());
    assert!(futures::poll!(&mut second).is_pending());
    assert_eq!(replays.count(), 2);
    drop(first);
    let std::task::Poll::Ready(second) = futures::poll!(&mut second) else { panic!("its turn") };
    assert_eq!(replays.count(), 1);
    drop(second);
    assert_eq!(replays.count(), 0);
}
