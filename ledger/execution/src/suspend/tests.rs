use super::*;
use alloy_primitives::Address;
use std::{
    future::Future,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

const KEY: Key = Key::Account(Address::ZERO);

/// Answers every key with bytes of `0`, after being polled `delay` times.
struct Slow(usize);

impl Store for Slow {
    async fn get(&self, _: &Key) -> Result<Option<Value>, StoreError> {
        for _ in 0..self.0 {
            let mut first = true;
            std::future::poll_fn(|_| {
                if std::mem::take(&mut first) { Poll::Pending } else { Poll::Ready(()) }
            })
            .await;
        }
        Ok(Some([0; 72]))
    }
}

struct Broken;

impl Store for Broken {
    async fn get(&self, _: &Key) -> Result<Option<Value>, StoreError> {
        Err(StoreError::new("the disk is gone"))
    }
}

/// Counts how many jobs have ended.
struct Ended(Arc<AtomicUsize>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn run<F: Future>(future: F) -> (F::Output, usize) {
    let mut future = pin!(future);
    let mut polls = 1;
    loop {
        match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(output) => return (output, polls),
            Poll::Pending => polls += 1,
        }
    }
}

fn job(loads: usize) -> impl FnOnce(Loader) -> usize + Send + 'static {
    move |loader| (0..loads).take_while(|_| loader.load(vec![KEY]).is_ok()).count()
}

#[test]
fn loads_and_returns() {
    assert_eq!(run(suspended(&Slow(0), job(5))).0.unwrap(), 5);
}

#[test]
fn awaits_while_the_store_is_pending() {
    let (loads, polls) = run(suspended(&Slow(3), job(4)));
    assert_eq!(loads.unwrap(), 4);
    assert_eq!(polls, 13, "every pending poll of the store is one of the caller");
}

#[test]
fn a_broken_store_stops_the_job() {
    let ended = Arc::new(AtomicUsize::new(0));
    let guard = Ended(ended.clone());
    let (result, _) = run(suspended(&Broken, move |loader| {
        let _guard = guard;
        assert_eq!(loader.load(vec![KEY]), Err(Closed));
    }));
    assert!(matches!(result, Err(SuspendError::Store(_))), "{result:?}");
    assert_eq!(ended.load(Ordering::SeqCst), 1);
}

#[test]
fn a_panic_is_an_error() {
    let (result, _) = run(suspended(&Slow(0), |loader: Loader| {
        loader.load(vec![KEY]).unwrap();
        assert!(std::hint::black_box(false), "out of cheese");
    }));
    let error = result.unwrap_err().to_string();
    assert!(error.contains("out of cheese"), "{error}");
}

#[test]
fn dropping_the_future_ends_the_thread() {
    let ended = Arc::new(AtomicUsize::new(0));
    let guard = Ended(ended.clone());
    {
        let mut future = pin!(suspended(&Slow(1_000), move |loader| {
            let _guard = guard;
            while loader.load(vec![KEY]).is_ok() {}
        }));
        let poll = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(poll.is_pending());
        assert_eq!(ended.load(Ordering::SeqCst), 0);
    }
    assert_eq!(ended.load(Ordering::SeqCst), 1, "the drop has joined the thread");
}

#[test]
fn the_future_can_move_between_threads() {
    fn sendable<T: Send>(value: T) -> T {
        value
    }
    run(sendable(suspended(&Slow(0), job(1)))).0.unwrap();
}
