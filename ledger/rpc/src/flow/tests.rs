//! A client that asks and does not read, and one that asks for much at once.

use super::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const PATIENCE: Duration = Duration::from_secs(60);

/// A connection alone in a room for two megabytes.
fn flow() -> Arc<Flow> {
    Arc::new(Flow::new(Arc::new(Room::new(2 << 20))))
}

fn answer(bytes: usize) -> MethodResponse {
    let text = jsonrpsee::server::ResponsePayload::success("a".repeat(bytes));
    MethodResponse::response(Id::Number(7), text, usize::MAX)
}

/// What a future gives at once, if anything.
async fn poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    std::future::poll_fn(|cx| match Pin::new(&mut *future).poll(cx) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

#[tokio::test]
async fn calls_wait_for_their_turn_and_reading_for_calls() {
    let flow = flow();
    let (ours, mut theirs) = tokio::io::duplex(1 << 10);
    let mut ours = Gated::new(ours, flow.clone(), PATIENCE);
    let mut running = Vec::new();
    for _ in 0..RUNNING_MAX {
        running.push(flow.clone().turn().await);
    }
    let mut waiting: Vec<_> =
        (RUNNING_MAX..ASKED_MAX).map(|_| Box::pin(flow.clone().turn())).collect();
    theirs.write_all(b"a").await.unwrap();
    assert_eq!(ours.read_u8().await.unwrap(), b'a');
    for turn in &mut waiting {
        assert!(poll_once(turn).await.is_none());
    }
    theirs.write_all(b"b").await.unwrap();
    let mut read = Box::pin(ours.read_u8());
    assert!(poll_once(&mut read).await.is_none(), "as much is asked as may be");
    // One ends: another begins, and the next message is read.
    running.pop();
    assert!(waiting.swap_remove(0).await.began);
    assert_eq!(read.await.unwrap(), b'b');
    // Who gives up waiting has no turn any more.
    drop(waiting);
    drop(running);
    let state = flow.state();
    assert_eq!((state.asked, state.running), (0, 0));
}

#[tokio::test]
async fn nothing_is_read_nor_begun_while_answers_are_not_taken() {
    let flow = flow();
    let (ours, mut theirs) = tokio::io::duplex(10);
    let mut ours = Gated::new(ours, flow.clone(), PATIENCE);
    assert!(flow.owe(OWED_MAX + 5));
    let mut turn = Box::pin(flow.clone().turn());
    assert!(poll_once(&mut turn).await.is_none());
    assert_eq!(ours.write(&[7; 20]).await.unwrap(), 10);
    assert!(poll_once(&mut Box::pin(ours.write(&[7; 20]))).await.is_none());
    theirs.write_all(b"a").await.unwrap();
    assert!(poll_once(&mut Box::pin(ours.read_u8())).await.is_none());
    let mut taken = [0; 10];
    theirs.read_exact(&mut taken).await.unwrap();
    assert_eq!(ours.write(&[7; 5]).await.unwrap(), 5);
    assert_eq!(ours.read_u8().await.unwrap(), b'a');
    assert!(turn.await.began);
}

#[tokio::test]
async fn large_answers_of_all_connections_have_a_ceiling() {
    let room = Arc::new(Room::new(3 << 20));
    let [one, two] = [(); 2].map(|()| Arc::new(Flow::new(room.clone())));
    let end = async |flow: &Arc<Flow>, bytes| {
        let turn = flow.clone().turn().await;
        turn.end(answer(bytes), Id::Number(7))
    };
    // What runs at once may all be large.
    let turns = [one.clone().turn().await, one.clone().turn().await, one.clone().turn().await];
    let ended = turns.map(|turn| turn.end(answer(900 << 10), Id::Number(7)));
    assert!(ended.iter().all(MethodResponse::is_success));
    assert_eq!(one.state().owed, room.taken.load(Ordering::Relaxed));

    let refused = end(&two, 900 << 10).await;
    assert_eq!(refused.as_error_code(), Some(-32005), "{}", refused.as_json());
    assert!(refused.as_json().get().contains("\"id\":7"), "{}", refused.as_json());
    assert!(end(&two, SMALL_MAX - 100).await.is_success(), "who asks for little is served");

    // One client reads on; the other goes.
    let owed = one.state().owed;
    one.wrote(owed / 2, false);
    assert!(end(&two, 900 << 10).await.is_success());
    drop(one);
    assert_eq!(two.state().owed, room.taken.load(Ordering::Relaxed));
    drop(two);
    assert_eq!(room.taken.load(Ordering::Relaxed), 0);
}
