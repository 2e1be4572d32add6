//! What the tests of this crate share: a genesis, signed transactions, and a world in commonware's
//! deterministic runtime that can lose power.

use crate::{
    Committee, Config, Finalized, Founding, Genesis, Header, History, Ledger, MemoryFile,
    Retention, ValidatorKeys, join::Tip, recovery::Recovery, validator::Launch,
};
use alloy_consensus::{SignableTransaction as _, TxEip1559, TxEip7702};
use alloy_eips::{eip2718::Encodable2718 as _, eip7702::Authorization};
use alloy_primitives::{Address, Bytes, TxKind, U256, address};
use alloy_signer::SignerSync as _;
use alloy_signer_local::PrivateKeySigner;
use commonware_consensus::{
    simplex::{
        scheme::ed25519::Scheme,
        types::{Finalization, Finalize, Proposal},
    },
    types::View,
};
use commonware_parallel::Sequential;
use commonware_runtime::{Supervisor as _, deterministic};
use commonware_utils::non_empty;
use contracts::{GenesisConfig, SeatRules};
use protocol::{Micros, Ppm, clock::EpochClock};
use std::{cell::Cell, collections::BTreeMap, net::SocketAddr, sync::Arc};

pub(crate) const CHAIN: u64 = 0xDE91;
pub(crate) const COIN: u128 = 1_000_000_000_000_000_000;
pub(crate) const FUNDS: u128 = 1_000 * COIN;
pub(crate) const STABLE: u64 = 5_000_000;
pub(crate) const NOBODY: Address = address!("0x000000000000000000000000000000000000dEaD");

pub(crate) fn signer(n: u8) -> PrivateKeySigner {
    PrivateKeySigner::from_slice(&[n; 32]).unwrap()
}

pub(crate) fn keys(n: u8) -> ValidatorKeys {
    ValidatorKeys::derive(&[n; 32])
}

/// A header with a certificate by all of `seats`.
pub(crate) fn certified(namespace: &[u8], seats: &[u8], header: Header) -> Tip {
    let validators: Vec<_> =
        seats.iter().map(|n| keys(*n).validator(Address::repeat_byte(*n))).collect();
    let participants = Committee::new(&validators).unwrap().participants();
    let schemes: Vec<_> = seats
        .iter()
        .map(|n| {
            let key = keys(*n).signer().clone();
            Scheme::signer(namespace, participants.clone(), key).unwrap()
        })
        .collect();
    let round = header.context().round;
    let proposal = Proposal::new(round, View::new(header.parent_view), header.sha256());
    let votes: Vec<_> =
        schemes.iter().map(|scheme| Finalize::sign(scheme, proposal.clone()).unwrap()).collect();
    let certificate =
        Finalization::from_finalizes(&schemes[0], non_empty![@votes.iter()], &Sequential).unwrap();
    Tip { header, certificate }
}

/// A ledger of `seats` validators; accounts of signers 1 to 3 have coins and test dollars.
pub(crate) fn genesis(seats: u8, term_length: u64) -> Genesis {
    let people = (1..=3).map(|n| signer(n).address());
    Genesis::found(Founding {
        chain_id: CHAIN,
        timestamp_ms: 0,
        term_length,
        validators: (0..seats)
            .map(|n| keys(n).validator(Address::repeat_byte(0xA0 + n)).into())
            .collect(),
        allocations: people.clone().map(|account| (account, U256::from(FUNDS))).collect(),
        contracts: GenesisConfig {
            clock: EpochClock { length: 4, grace: 1 },
            dispute_epochs: 2,
            validators: Vec::new(),
            seats: SeatRules::default(),
            guardian: Address::repeat_byte(0xB0),
            pause_blocks_max: 10,
            breaker_window: 20,
            breaker_share: Ppm::ONE,
            breaker_floor: Micros(0),
            stablecoin: people.map(|account| (account, Micros(STABLE))).collect(),
            networks: Vec::new(),
        },
    })
    .unwrap()
}

pub(crate) fn transaction(n: u8, nonce: u64, to: Address, value: u128, input: Bytes) -> Vec<u8> {
    signed(n, call(nonce, to, value, input))
}

/// A transfer to nobody that pays `times` the usual price.
pub(crate) fn dear(n: u8, nonce: u64, times: u128) -> Vec<u8> {
    let mut tx = call(nonce, NOBODY, COIN, Bytes::new());
    tx.max_fee_per_gas *= times;
    tx.max_priority_fee_per_gas *= times;
    signed(n, tx)
}

fn call(nonce: u64, to: Address, value: u128, input: Bytes) -> TxEip1559 {
    TxEip1559 {
        chain_id: CHAIN,
        nonce,
        gas_limit: if input.is_empty() { 21_000 } else { 500_000 },
        max_fee_per_gas: 10_000_000_000,
        max_priority_fee_per_gas: 1_000_000_000,
        to: TxKind::Call(to),
        value: U256::from(value),
        input,
        ..TxEip1559::default()
    }
}

fn signed(n: u8, tx: TxEip1559) -> Vec<u8> {
    let signature = signer(n).sign_hash_sync(&tx.signature_hash()).unwrap();
    tx.into_signed(signature).encoded_2718()
}

/// A transaction by which one sender carries another's authorization (EIP-7702), each with its nonce.
pub(crate) fn delegation(sender: (u8, u64), authority: (u8, u64)) -> Vec<u8> {
    let authorization =
        Authorization { chain_id: U256::from(CHAIN), address: NOBODY, nonce: authority.1 };
    let hash = authorization.signature_hash();
    let signed = authorization.into_signed(signer(authority.0).sign_hash_sync(&hash).unwrap());
    let tx = TxEip7702 {
        chain_id: CHAIN,
        nonce: sender.1,
        gas_limit: 100_000,
        max_fee_per_gas: 10_000_000_000,
        max_priority_fee_per_gas: 1_000_000_000,
        to: NOBODY,
        authorization_list: vec![signed],
        ..TxEip7702::default()
    };
    let signature = signer(sender.0).sign_hash_sync(&tx.signature_hash()).unwrap();
    tx.into_signed(signature).encoded_2718()
}

pub(crate) fn transfer(n: u8, nonce: u64, value: u128) -> Vec<u8> {
    transaction(n, nonce, NOBODY, value, Bytes::new())
}

thread_local! {
    static AHEAD: Cell<Option<([u8; 32], u64)>> = const { Cell::new(None) };
}

/// Sets the clock by which a validator proposes ahead, in this thread and until it ends.
pub(crate) fn set_ahead(keys: &ValidatorKeys, ms: u64) {
    AHEAD.set(Some((keys.network_key(), ms)));
}

/// Milliseconds that the clock of a proposer is ahead.
pub(crate) fn ahead(keys: &ValidatorKeys) -> u64 {
    AHEAD.get().map_or(0, |(key, ms)| if key == keys.network_key() { ms } else { 0 })
}

/// One validator's disk, across power cuts.
pub(crate) struct World {
    pub(crate) genesis: Genesis,
    pub(crate) retention: Retention,
    history: MemoryFile,
    disk: Option<deterministic::Checkpoint>,
    seed: u64,
}

impl World {
    pub(crate) fn new(seed: u64, genesis: Genesis) -> Self {
        let retention = Retention::default();
        Self { genesis, retention, history: MemoryFile::new(), disk: None, seed }
    }

    /// Runs the ledger for as long as `scenario`, then cuts the power.
    pub(crate) fn session<T>(
        &mut self,
        scenario: impl AsyncFnOnce(&deterministic::Context, Ledger) -> T,
    ) -> T {
        let runner = match self.disk.take() {
            Some(disk) => deterministic::Runner::from(disk),
            None => deterministic::Runner::seeded(self.seed),
        };
        let history = self.history.clone();
        let (genesis, retention) = (self.genesis.clone(), self.retention);
        let (result, disk) = runner.start_and_recover(async move |context| {
            let opened = History::open_in(history, genesis.digest(), retention).unwrap();
            let ledger = launch(&context, (0, genesis), Arc::new(opened)).await;
            scenario(&context, ledger).await
        });
        self.history = self.history.crash();
        self.disk = Some(disk);
        result
    }
}

/// Starts validator `n` below `context`, all validators on ports from 4000 up.
pub(crate) async fn launch(
    context: &deterministic::Context,
    (n, genesis): (u8, Genesis),
    history: Arc<History>,
) -> Ledger {
    let address = |n: u8| SocketAddr::from(([127, 0, 0, 1], 4000 + u16::from(n)));
    let seats = u8::try_from(genesis.validators.len()).unwrap();
    let mut config = Config::new("unused".into(), address(n), keys(n), genesis);
    config.peers = (0..seats)
        .filter(|peer| *peer != n)
        .map(|peer| crate::Peer { key: keys(peer).network_key(), address: address(peer) })
        .collect();
    let launch = Launch {
        prefix: format!("validator-{n}"),
        committee: Arc::new(config.genesis.check().unwrap()),
        history,
        listen: config.listen,
        recovery: Recovery::sequential(),
        served: crate::engine::Served::LITTLE,
        config,
    };
    let context = context.child("validator").with_attribute("n", n);
    Box::pin(launch.start(&context)).await.unwrap()
}

/// Waits for the block at `height`.
pub(crate) async fn block_at(ledger: &Ledger, height: u64) -> Arc<Finalized> {
    ledger.subscribe_from(height).next().await.unwrap().unwrap()
}

/// Waits for the block that holds a transaction.
pub(crate) async fn included(ledger: &Ledger, hash: alloy_primitives::B256) -> crate::Located {
    let mut blocks = ledger.subscribe_from(ledger.first().unwrap().max(1));
    loop {
        blocks.next().await.unwrap().unwrap();
        if let Some(located) = ledger.transaction(hash).unwrap() {
            return located;
        }
    }
}

/// The state roots of all heights.
pub(crate) fn roots(ledger: &Ledger) -> BTreeMap<u64, alloy_primitives::B256> {
    (ledger.first().unwrap()..=ledger.head().height())
        .map(|height| (height, ledger.header(height).unwrap().unwrap().state.root))
        .collect()
}
