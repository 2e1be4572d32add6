//! The worst cold block: all its gas spent on reading slots that nothing in the block has read before.

use super::{
    cluster::Cluster,
    sender,
    transactions::{Call, Workload, people, signed},
};
use crate::report::{Figure, median, progress};
use alloy_primitives::{TxKind, U256};
use anyhow::Context as _;

/// Slots that a transaction writes within its gas.
const WRITTEN: u64 = 700;
/// Slots that a transaction reads within its gas.
const READ: u64 = 7_000;
/// Gas of a transaction that writes: 2^24 is the most.
const WRITE_GAS: u64 = 16_000_000;
/// Gas of a transaction that reads.
const READ_GAS: u64 = 15_000_000;
/// Blocks that are timed, and how often that is tried.
const BLOCKS: usize = 5;
const TRIES: usize = 20;

/// Makes a contract of the 48 bytes that follow. With two words of calldata it reads the slots from word 0
/// down to word 1, with three it writes each one's number into it.
const CREATION: [u8; 57] = [
    0x60, 0x30, 0x80, 0x60, 0x09, 0x5f, 0x39, 0x5f, 0xf3, // return the rest
    0x36, 0x60, 0x40, 0x10, 0x60, 0x1b, 0x57, // write if 64 < calldatasize
    0x60, 0x20, 0x35, 0x5f, 0x35, // last, next
    0x5b, 0x80, 0x54, 0x50, // sload(next)
    0x60, 0x01, 0x90, 0x03, 0x81, 0x81, 0x11, 0x60, 0x0c, 0x57,
    0x00, // next -= 1, again if > last
    0x5b, 0x60, 0x20, 0x35, 0x5f, 0x35, // last, next
    0x5b, 0x80, 0x80, 0x55, // sstore(next, next)
    0x60, 0x01, 0x90, 0x03, 0x81, 0x81, 0x11, 0x60, 0x21, 0x57, 0x00,
];

/// Fills as many slots as a block can read, and times blocks that read them all.
pub(super) async fn figure(cluster: &Cluster, workload: &Workload) -> anyhow::Result<Figure> {
    progress("worst cold block");
    let mut nonce = u64::try_from(workload.setup.len())?;
    let people = people()?;
    let deployer = people.last().context("there are accounts")?;
    let to = TxKind::Call(deployer.address().create(nonce));
    let mut next = |to: TxKind, gas_limit: u64, input: Vec<u8>| {
        nonce += 1;
        signed(deployer, Call { nonce: nonce - 1, to, value: 0, gas_limit, input })
    };
    let readers = cluster.gas_limit() / READ_GAS;
    let mut fill = vec![next(TxKind::Create, WRITE_GAS, CREATION.to_vec())?];
    for first in (0..readers * READ).step_by(usize::try_from(WRITTEN)?) {
        fill.push(next(to, WRITE_GAS, words(&[first + WRITTEN, first, 0]))?);
    }
    sender::all_in_blocks(cluster.port(), &fill).await?;
    let mut times = Vec::new();
    for _ in 0..TRIES {
        let reads: Vec<_> = (0..readers)
            .map(|n| next(to, READ_GAS, words(&[(n + 1) * READ, n * READ])))
            .collect::<anyhow::Result<_>>()?;
        let count = reads.len();
        let (time, sent) =
            tokio::join!(cluster.time_of(count), sender::all_in_blocks(cluster.port(), &reads));
        sent?;
        // They may have come when a block was just being made, and stand in two.
        times.extend(time?);
        if times.len() == BLOCKS {
            break;
        }
    }
    Ok(Figure {
        what: format!("worst cold block: {} slots, to its finality, median", readers * READ),
        ours: median(times),
        rival: None,
        unit: "ms",
    })
}

fn words(numbers: &[u64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| U256::from(*number).to_be_bytes::<32>()).collect()
}
