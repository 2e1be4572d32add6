//! A ledger, its server, a client and signers.

use alloy_consensus::{SignableTransaction as _, TxEip1559, TxEnvelope};
use alloy_eips::eip2718::Encodable2718 as _;
use alloy_primitives::{Address, B256, Bytes, TxKind, U256};
use alloy_rpc_types_eth::TransactionReceipt;
use alloy_signer::SignerSync as _;
use alloy_signer_local::PrivateKeySigner;
use alloy_sol_types::SolCall;
use consensus::{Config, Founding, Genesis, Retention, Running, ValidatorKeys};
use contracts::{GenesisConfig, SeatRules, abi::IToken, address};
use jsonrpsee::{
    core::client::{ClientT, Error},
    http_client::{HttpClient, HttpClientBuilder},
    rpc_params,
    types::ErrorObjectOwned,
};
use protocol::{Micros, Ppm, clock::EpochClock};
use rpc::{Limits, Server, serve};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::{net::SocketAddr, time::Duration};
use tempfile::TempDir;

pub(crate) const CHAIN: u64 = 0xDE91;
pub(crate) const TOKEN: Address = address::STABLECOIN;
const GWEI: u128 = 1_000_000_000;
/// Guards a test against waiting for ever; nothing is measured by it.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) fn coins(n: u64) -> U256 {
    U256::from(n) * U256::from(10).pow(U256::from(18))
}

pub(crate) fn anywhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

fn genesis(keys: &ValidatorKeys) -> Genesis {
    let validator = keys.validator(Address::repeat_byte(0xbe));
    Genesis::found(Founding {
        chain_id: CHAIN,
        timestamp_ms: 1_790_000_000_000,
        term_length: 1_000_000,
        validators: vec![validator.into()],
        allocations: (1..=3).map(|seed| (User::new(seed).address(), coins(1_000))).collect(),
        contracts: GenesisConfig {
            clock: EpochClock { length: 30, grace: 4 },
            dispute_epochs: 1,
            validators: vec![],
            seats: SeatRules::default(),
            guardian: Address::repeat_byte(0xaa),
            pause_blocks_max: 1_000,
            breaker_window: 100,
            breaker_share: Ppm(100_000),
            breaker_floor: Micros(1_000_000_000),
            stablecoin: vec![(User::new(1).address(), Micros(1_000_000_000))],
            networks: vec![],
        },
    })
    .unwrap()
}

/// A node under test.
pub(crate) struct Node {
    pub(crate) running: Running,
    pub(crate) server: Server,
    pub(crate) client: HttpClient,
    _folder: TempDir,
}

impl Node {
    pub(crate) async fn start(limits: Limits, retention: Retention) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let keys = ValidatorKeys::derive(&[7; 32]);
        let genesis = genesis(&keys);
        let mut config = Config::new(folder.path().to_owned(), anywhere(), keys, genesis);
        config.pace = Duration::from_millis(50);
        config.retention = retention;
        let running = consensus::start(config).await.unwrap();
        let server = serve(running.ledger.clone(), anywhere(), limits).await.unwrap();
        let client =
            HttpClientBuilder::default().build(format!("http://{}", server.addr())).unwrap();
        Self { running, server, client, _folder: folder }
    }

    pub(crate) async fn new() -> Self {
        Self::start(Limits::default(), Retention::default()).await
    }

    pub(crate) async fn stop(self) {
        self.server.stop().await;
        // How the ledger itself ends is tested where it lives.
        drop(self.running.stop().await);
    }

    pub(crate) async fn ask<T: DeserializeOwned>(&self, method: &str, params: Value) -> T {
        self.try_ask(method, params).await.unwrap()
    }

    pub(crate) async fn try_ask<T: DeserializeOwned>(
        &self,
        method: &str,
        params: Value,
    ) -> Result<T, ErrorObjectOwned> {
        let mut all = rpc_params![];
        for param in params.as_array().unwrap() {
            all.insert(param).unwrap();
        }
        match self.client.request(method, all).await {
            Ok(answer) => Ok(answer),
            Err(Error::Call(error)) => Err(error),
            Err(error) => panic!("{method}: {error}"),
        }
    }

    /// Sends a transaction and waits until a block holds it.
    pub(crate) async fn land(&self, tx: &TxEnvelope) -> TransactionReceipt {
        let raw = Bytes::from(tx.encoded_2718());
        let hash: B256 = self.ask("eth_sendRawTransaction", serde_json::json!([raw])).await;
        assert_eq!(hash, *tx.tx_hash());
        self.until(|block| block.transaction_hashes().any(|held| held == hash)).await;
        let receipt: Option<TransactionReceipt> =
            self.ask("eth_getTransactionReceipt", serde_json::json!([hash])).await;
        receipt.unwrap()
    }

    /// Waits for a block, from the present one on.
    pub(crate) async fn until(&self, wanted: impl Fn(&consensus::Finalized) -> bool) -> u64 {
        let from = self.running.ledger.head().height().saturating_sub(20);
        let mut blocks = self.running.ledger.subscribe_from(from);
        let wait = async {
            loop {
                let block = blocks.next().await.unwrap().unwrap();
                if wanted(&block) {
                    return block.height();
                }
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.unwrap()
    }
}

pub(crate) struct User {
    signer: PrivateKeySigner,
    pub(crate) nonce: u64,
}

impl User {
    pub(crate) fn new(seed: u8) -> Self {
        let signer = PrivateKeySigner::from_bytes(&B256::repeat_byte(seed)).unwrap();
        Self { signer, nonce: 0 }
    }

    pub(crate) fn address(&self) -> Address {
        self.signer.address()
    }

    pub(crate) fn send(&mut self, to: TxKind, value: U256, data: Vec<u8>) -> TxEnvelope {
        let tx = TxEip1559 {
            chain_id: CHAIN,
            nonce: self.nonce,
            gas_limit: 300_000,
            max_fee_per_gas: 10 * GWEI,
            max_priority_fee_per_gas: 2 * GWEI,
            to,
            value,
            input: data.into(),
            ..TxEip1559::default()
        };
        self.nonce += 1;
        let signature = self.signer.sign_hash_sync(&tx.signature_hash()).unwrap();
        tx.into_signed(signature).into()
    }

    pub(crate) fn pay(&mut self, to: Address, value: U256) -> TxEnvelope {
        self.send(TxKind::Call(to), value, Vec::new())
    }

    /// Moves test dollars.
    pub(crate) fn transfer(&mut self, to: Address, value: u64) -> TxEnvelope {
        let data = IToken::transferCall { to, value: U256::from(value) }.abi_encode();
        self.send(TxKind::Call(TOKEN), U256::ZERO, data)
    }
}
