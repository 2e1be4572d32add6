//! `kill -9` in the middle of writes, twenty times at random moments: every object that was
//! acknowledged is whole afterwards, and the ledger goes on.

use crate::program::Program;
use bytes::Bytes;
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};
use wayleave::s3::S3;

/// How often the program is killed.
const KILLS: u64 = 20;
/// The longest it may run before it is killed.
const RUN_MAX: Duration = Duration::from_millis(1_500);
/// How long a new block may take before the test gives up. Not a measure: blocks come every 500 ms.
const PATIENCE: Duration = Duration::from_secs(120);

/// A generator of our own seed, so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

fn contents(number: u64, length: usize) -> Bytes {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&number.to_be_bytes()).finalize_xof().fill(&mut bytes);
    bytes.into()
}

#[test]
fn acknowledged_objects_survive_kill_9() {
    let seed = std::env::var("WAYLEAVE_SEED").map_or(2_026, |text| text.parse().unwrap());
    println!("seed {seed}; repeat with WAYLEAVE_SEED={seed}");
    let mut random = Random(seed);
    let home = tempfile::tempdir().unwrap();
    let mut program = Program::new(home.path());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut acknowledged: BTreeMap<u64, usize> = BTreeMap::new();
    let mut next = 0;
    let mut reached = 0;
    #[expect(clippy::explicit_counter_loop, reason = "the number rises within a round too")]
    for round in 0..KILLS {
        program.start();
        let resumed = height(&program);
        assert!(resumed >= reached, "the ledger is at block {resumed} and was at {reached}");
        reached = resumed;
        let s3 = S3::new(&program.access(), "kill").unwrap();
        let until = Instant::now() + RUN_MAX.mul_f64((random.below(1_000) as f64) / 1_000.0);
        runtime.block_on(async {
            let writes = async {
                s3.create().await.unwrap();
                loop {
                    // Most objects are small and share a segment; some are large.
                    let length = match random.below(8) {
                        0 => 3_000_000,
                        _ => usize::try_from(random.below(20_000)).unwrap(),
                    };
                    s3.put(&format!("o/{next}"), contents(next, length)).await.unwrap();
                    acknowledged.insert(next, length);
                    next += 1;
                }
            };
            tokio::pin!(writes);
            let _ = tokio::time::timeout_at(until.into(), &mut writes).await;
            // The kill comes at a random moment, with a write under way.
            program.kill();
        });
        // An object that was under way is not counted; its name is not used again.
        next += 1;
        println!("round {round}: {} objects acknowledged", acknowledged.len());
    }
    program.start();
    assert!(!acknowledged.is_empty(), "nothing was acknowledged in {KILLS} rounds");
    let s3 = S3::new(&program.access(), "kill").unwrap();
    runtime.block_on(async {
        for (&number, &length) in &acknowledged {
            let back = s3.get(&format!("o/{number}")).await.unwrap();
            assert_eq!(back, contents(number, length), "object {number} of {length} bytes");
        }
    });
    // The ledger goes on: a new block comes, however slow this machine is.
    let resumed = height(&program);
    assert!(resumed >= reached, "the ledger is at block {resumed} and was at {reached}");
    let limit = Instant::now() + PATIENCE;
    while height(&program) <= resumed {
        assert!(Instant::now() < limit, "no block after {resumed} in {PATIENCE:?}");
    }
}

/// The ledger's height as `status` shows it.
fn height(program: &Program) -> u64 {
    let at = program.at();
    let mut arguments = vec!["status", "--json"];
    arguments.extend(at.iter().map(String::as_str));
    let status = program.run(&arguments);
    assert!(status.status.success(), "{}", String::from_utf8_lossy(&status.stderr));
    let figures: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    figures["height"].as_u64().unwrap()
}
