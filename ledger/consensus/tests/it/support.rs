//! A devnet-like ledger of one validator with quick blocks, and signed transfers.

use alloy_consensus::{SignableTransaction as _, TxEip1559};
use alloy_eips::eip2718::Encodable2718 as _;
use alloy_primitives::{Address, B256, TxKind, U256, address};
use alloy_signer::SignerSync as _;
use alloy_signer_local::PrivateKeySigner;
use consensus::{Config, Founding, Genesis, Ledger, Located, ValidatorKeys};
use contracts::{GenesisConfig, SeatRules};
use protocol::{Micros, Ppm, clock::EpochClock};
use std::{net::SocketAddr, path::Path, time::Duration};

pub(crate) const COIN: u128 = 1_000_000_000_000_000_000;
pub(crate) const NOBODY: Address = address!("0x000000000000000000000000000000000000dEaD");

pub(crate) fn sender() -> PrivateKeySigner {
    PrivateKeySigner::from_slice(&[7; 32]).unwrap()
}

pub(crate) fn keys() -> ValidatorKeys {
    ValidatorKeys::derive(&[1; 32])
}

pub(crate) fn genesis(chain_id: u64) -> Genesis {
    Genesis::found(Founding {
        chain_id,
        timestamp_ms: 1_790_000_000_000,
        term_length: 64,
        validators: vec![keys().validator(Address::repeat_byte(0xA0)).into()],
        allocations: [(sender().address(), U256::from(1_000_000 * COIN))].into(),
        contracts: GenesisConfig {
            clock: EpochClock { length: 8, grace: 2 },
            dispute_epochs: 1,
            validators: Vec::new(),
            seats: SeatRules::default(),
            guardian: Address::repeat_byte(0xB0),
            pause_blocks_max: 10,
            breaker_window: 20,
            breaker_share: Ppm::ONE,
            breaker_floor: Micros(0),
            stablecoin: Vec::new(),
            networks: Vec::new(),
        },
    })
    .unwrap()
}

pub(crate) fn config(data: &Path) -> Config {
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut config = Config::new(data.to_owned(), any_port, keys(), genesis(0xDE91));
    config.pace = Duration::from_millis(10);
    config
}

pub(crate) fn transfer(nonce: u64) -> Vec<u8> {
    let tx = TxEip1559 {
        chain_id: 0xDE91,
        nonce,
        gas_limit: 21_000,
        max_fee_per_gas: 10_000_000_000,
        max_priority_fee_per_gas: 1,
        to: TxKind::Call(NOBODY),
        value: U256::from(COIN),
        ..TxEip1559::default()
    };
    let signature = sender().sign_hash_sync(&tx.signature_hash()).unwrap();
    tx.into_signed(signature).encoded_2718()
}

/// Waits for the block that holds a transaction.
pub(crate) async fn included(ledger: &Ledger, hash: B256) -> Located {
    let mut blocks = ledger.subscribe();
    loop {
        if let Some(located) = ledger.transaction(hash).unwrap() {
            return located;
        }
        blocks.next().await.unwrap().unwrap();
    }
}

pub(crate) async fn coins(ledger: &Ledger, account: Address, height: u64) -> u128 {
    let balance = ledger.account(account, height).await.unwrap().balance;
    u128::try_from(balance).unwrap() / COIN
}

/// Writes the ledger's log to standard error if `RUST_LOG` asks for it.
pub(crate) fn log() {
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    // Another test may have been first.
    let _ =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init();
}
