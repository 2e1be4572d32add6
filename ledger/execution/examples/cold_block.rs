//! Measures the worst cold block: all its gas spent on reading slots that nobody has read before.
//!
//! `cargo run -p execution --example cold_block [--release]`. The store answers from memory at once, so
//! what is measured is the machine and its suspensions. Beside it, in the same run, the same gas spent
//! on slots that the block has loaded already: the difference is what suspending costs.

#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

use alloy_consensus::{SignableTransaction as _, TxEip1559, TxEnvelope};
use alloy_primitives::{Address, B256, Bytes, TxKind, U256, keccak256};
use alloy_signer::SignerSync as _;
use alloy_signer_local::PrivateKeySigner;
use execution::{
    Account, BASE_FEE_FLOOR, BLOCK_GAS_LIMIT, BlockEnv, BlockOutcome, ExecuteError, Genesis, Key,
    MemoryStore, Recovered, code_writes, execute_block, genesis,
};
use std::{
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

const CHAIN: u64 = 1;
const READER: Address = Address::repeat_byte(0xcc);
/// Reads slots from calldata word 0 down to calldata word 1.
const CODE: [u8; 21] = [
    0x60, 0x20, 0x35, 0x5f, 0x35, // last, next
    0x5b, // loop:
    0x80, 0x54, 0x50, // sload(next), pop
    0x60, 0x01, 0x90, 0x03, // next -= 1
    0x81, 0x81, 0x11, // next > last
    0x60, 0x05, 0x57, // again
    0x00, 0x00,
];

fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        let poll = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        if let Poll::Ready(output) = poll {
            return output;
        }
    }
}

fn read(signer: &PrivateKeySigner, nonce: u64, slots: (u64, u64)) -> Recovered<TxEnvelope> {
    let words = [U256::from(slots.1), U256::from(slots.0)];
    let tx = TxEip1559 {
        chain_id: CHAIN,
        nonce,
        gas_limit: BLOCK_GAS_LIMIT / 2,
        max_fee_per_gas: BASE_FEE_FLOOR.into(),
        to: TxKind::Call(READER),
        input: Bytes::from(words.map(|word| word.to_be_bytes::<32>()).concat()),
        ..TxEip1559::default()
    };
    let signature = signer.sign_hash_sync(&tx.signature_hash()).expect("a local key signs");
    Recovered::new_unchecked(tx.into_signed(signature).into(), signer.address())
}

fn timed(
    store: &MemoryStore,
    txs: &[Recovered<TxEnvelope>],
) -> Result<(BlockOutcome, Duration), ExecuteError> {
    let env = BlockEnv {
        chain_id: CHAIN,
        number: 1,
        timestamp: 1,
        parent_hash: B256::ZERO,
        gas_limit: BLOCK_GAS_LIMIT,
        base_fee: BASE_FEE_FLOOR,
        beneficiary: Address::ZERO,
        mix: B256::ZERO,
    };
    let start = Instant::now();
    let outcome = block_on(execute_block(store, &env, txs))?;
    Ok((outcome, start.elapsed()))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let signer = PrivateKeySigner::from_bytes(&B256::repeat_byte(1))?;
    let coins = [(signer.address(), U256::MAX >> 1)].into_iter().collect();
    let mut store = MemoryStore(genesis(&Genesis { coins, ..Genesis::default() }));
    let code_hash = keccak256(CODE);
    let reader = Account { nonce: 1, code_hash, ..Account::default() };
    store.0.insert(Key::Account(READER), reader.encode());
    store.0.extend(code_writes(code_hash, &CODE)?);

    // 2,128 gas a slot with its loop.
    let slots = 7_000;
    let cold = [read(&signer, 0, (0, slots)), read(&signer, 1, (slots, 2 * slots))];
    let again = [read(&signer, 0, (0, slots)), read(&signer, 1, (0, slots))];
    println!("blocks of two transactions, {} gas limit, {slots} slots each", BLOCK_GAS_LIMIT);
    for _ in 0..3 {
        let (first, cold_time) = timed(&store, &cold)?;
        let (second, again_time) = timed(&store, &again)?;
        assert!(first.receipts.iter().chain(&second.receipts).all(|r| r.envelope.is_success()));
        let more = cold_time.saturating_sub(again_time);
        println!(
            "all cold: {:>6.1} ms, {} gas, {} loads | half loaded already: {:>6.1} ms, {} gas, {} loads | a suspension: {:.1} us",
            cold_time.as_secs_f64() * 1e3,
            first.gas_used,
            first.loads,
            again_time.as_secs_f64() * 1e3,
            second.gas_used,
            second.loads,
            more.as_secs_f64() * 1e6 / f64::from(u32::try_from(first.loads - second.loads)?),
        );
    }
    Ok(())
}
