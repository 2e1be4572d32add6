//! Views of a height: sorted, complete, and refused when they cannot be true.

use crate::ledger::{Ledger, State};
use alloy_primitives::{Address, B256, U256};
use alloy_sol_types::SolCall;
use client::{
    CallError,
    abi::{IDevices, INetworks, IRails, ISettlements, IStakes, ISystem},
    address,
};
use protocol::{
    DeviceId, Digest, Epoch, Height, KindId, Micros, NetworkId, RailId, Tokens, fixtures,
    key::DeviceSecret, manifest::Manifest,
};

const NETWORK: NetworkId = NetworkId(1);

/// Answers with what `answer` gives for a call of `C`.
fn on<C: SolCall>(input: &[u8], answer: impl FnOnce(C) -> C::Return) -> Option<Vec<u8>> {
    let call = C::abi_decode(input).ok()?;
    Some(C::abi_encode_returns(&answer(call)))
}

fn unknown(input: &[u8]) -> Vec<u8> {
    use alloy_sol_types::SolError as _;
    let selector = input.first_chunk::<4>().copied().unwrap_or_default();
    ISystem::UnknownSelector { selector: selector.into() }.abi_encode()
}

fn secret(i: u64) -> DeviceSecret {
    DeviceSecret::from_seed([u8::try_from(i).unwrap() + 1; 32])
}

fn record(i: u64) -> IDevices::Record {
    IDevices::Record {
        network: NETWORK.0,
        kind: 1,
        alg: secret(i).key().algorithm(),
        tier: 2,
        owner: Address::repeat_byte(1),
        maker: Address::ZERO,
        x: secret(i).key().x().into(),
        y: secret(i).key().y().into(),
        capacity: 1 << 30,
        cell: 0,
        offer: Digest::of(b"offer").into(),
        registered: 0,
        retired: u64::MAX,
    }
}

/// A contract with three devices, whose list `at` may bend.
fn devices(input: &[u8], at: impl Fn(u64) -> u64) -> Result<Vec<u8>, Vec<u8>> {
    let found = |id: B256| (0..3).find(|i| B256::from(secret(*i).id()) == id).unwrap();
    on::<IDevices::deviceCountCall>(input, |_| 3)
        .or_else(|| on::<IDevices::deviceAtCall>(input, |call| secret(at(call.index)).id().into()))
        .or_else(|| on::<IDevices::deviceCall>(input, |call| record(found(call.device))))
        .or_else(|| on::<IStakes::stakeOfCall>(input, |_| U256::from(5)))
        .or_else(|| on::<IStakes::slashedCall>(input, |_| U256::from(6)))
        .or_else(|| {
            on::<IDevices::endpointCall>(input, |call| match found(call.device) {
                1 => String::new(),
                i => format!("127.0.0.1:900{i}"),
            })
        })
        .ok_or_else(|| unknown(input))
}

#[tokio::test]
async fn a_roster_is_sorted_and_whole() {
    let ledger = Ledger::with(|_, input, _: &State| devices(input, |i| i)).await;
    let client = ledger.client().await;
    let roster = client.roster(NETWORK, Height(9)).await.unwrap();
    assert_eq!(roster.len(), 3);
    assert!(roster.is_sorted_by(|a, b| a.id < b.id));
    assert!(roster.iter().all(|device| device.stake == Tokens(5) && device.kind == KindId(1)));
    assert!(roster.iter().all(|device| device.netted == Tokens(6)));
    assert!(roster.iter().all(|device| device.key.id() == device.id));
    let endpoints = client.endpoints(NETWORK, Height(9)).await.unwrap();
    assert_eq!(endpoints.len(), 2, "a device without an endpoint is left out");
    assert_eq!(client.endpoint(secret(1).id()).await.unwrap(), None);
    assert_eq!(client.endpoint(secret(2).id()).await.unwrap().as_deref(), Some("127.0.0.1:9002"));
}

#[tokio::test]
async fn a_roster_with_a_device_twice_is_refused() {
    let ledger = Ledger::with(|_, input, _: &State| devices(input, |_| 0)).await;
    let error = ledger.client().await.roster(NETWORK, Height(9)).await.unwrap_err();
    assert!(matches!(error, CallError::Decode(_)), "{error}");
}

#[tokio::test]
async fn a_device_with_a_foreign_key_is_refused() {
    let ledger = Ledger::with(|_, input, _: &State| {
        on::<IDevices::deviceCall>(input, |_| record(0)).map_or_else(|| devices(input, |i| i), Ok)
    })
    .await;
    let error = ledger.client().await.roster(NETWORK, Height(9)).await.unwrap_err();
    assert!(error.to_string().contains("thumbprint"), "{error}");
}

#[tokio::test]
async fn a_list_without_end_is_refused_before_it_is_read() {
    let ledger = Ledger::with(|_, input, _: &State| {
        on::<IDevices::deviceCountCall>(input, |_| u64::MAX).ok_or_else(|| unknown(input))
    })
    .await;
    let error = ledger.client().await.roster(NETWORK, Height(9)).await.unwrap_err();
    assert!(matches!(error, CallError::Decode(_)), "{error}");
}

#[tokio::test]
async fn a_long_list_is_read_batch_by_batch_until_the_first_refusal() {
    let ledger = Ledger::with(|_, input, _: &State| {
        on::<IDevices::deviceCountCall>(input, |_| client::LIST_MAX).ok_or_else(|| unknown(input))
    })
    .await;
    ledger.client().await.roster(NETWORK, Height(9)).await.unwrap_err();
    let asked = usize::try_from(ledger.state().asked("eth_call")).unwrap();
    assert!(asked <= 1 + client::BATCH_MAX, "{asked} calls");
}

#[tokio::test]
async fn a_refused_view_is_named() {
    let ledger = Ledger::with(|_, input, _: &State| Err(unknown(input))).await;
    let error = ledger.client().await.device(DeviceId([1; 32])).await.unwrap_err();
    assert_eq!(error.revert().unwrap().name(), "UnknownSelector");
}

fn rails(input: &[u8]) -> Result<Vec<u8>, Vec<u8>> {
    on::<IRails::openRailCountCall>(input, |_| 3)
        .or_else(|| on::<IRails::openRailAtCall>(input, |call| 30 - call.index))
        .or_else(|| {
            on::<IRails::railCall>(input, |call| IRails::RailInfo {
                network: NETWORK.0,
                payer: Address::repeat_byte(2),
                payee: Address::repeat_byte(1),
                signer: Address::repeat_byte(3),
                device: secret(0).id().into(),
                limit: call.rail * 100,
                rate: 7,
                nonce: 1,
                opened: 2,
                end: 99,
                presented: 0,
                released: false,
            })
        })
        .or_else(|| {
            on::<IRails::datasetCall>(input, |call| IRails::DatasetInfo {
                version: call.rail - 28,
                root: [4; 32].into(),
                size: 1_000,
                frozen: 3,
            })
        })
        .ok_or_else(|| unknown(input))
}

#[tokio::test]
async fn rails_and_datasets_are_sorted_and_empty_ones_left_out() {
    let ledger = Ledger::with(|_, input, _: &State| rails(input)).await;
    let client = ledger.client().await;
    let rails = client.rails(NETWORK, Height(9)).await.unwrap();
    assert_eq!(rails.iter().map(|rail| rail.id.0).collect::<Vec<_>>(), [28, 29, 30]);
    assert_eq!(rails[0].limit, Micros(2_800));
    assert_eq!((rails[0].opened, rails[0].expiry), (Epoch(2), Epoch(99)));
    let datasets = client.datasets(NETWORK, Height(9)).await.unwrap();
    assert_eq!(datasets.iter().map(|set| set.rail).collect::<Vec<_>>(), [RailId(29), RailId(30)]);
}

pub(crate) fn manifest() -> Manifest {
    fixtures::manifest(KindId(1))
}

#[tokio::test]
async fn what_cannot_change_is_asked_for_once() {
    let ledger = Ledger::with(|to, input, state: &State| {
        let settled = state.height >= 40;
        match to {
            address::NETWORKS => {
                on::<INetworks::manifestCall>(input, |_| protocol::cbor::to_vec(&manifest()).into())
            }
            _ => on::<ISettlements::clockCall>(input, |_| ISettlements::clockReturn {
                length: 30,
                grace: 4,
            })
            .or_else(|| {
                on::<ISettlements::rootCall>(input, |_| B256::repeat_byte(u8::from(settled)))
            }),
        }
        .ok_or_else(|| unknown(input))
    })
    .await;
    let client = ledger.client().await;
    let asked = |f: &str| ledger.state().asked(f);
    // Epoch 1 has not begun: its manifest could still change.
    client.manifest(NETWORK, Epoch(1)).await.unwrap();
    let before = asked("eth_call");
    client.manifest(NETWORK, Epoch(1)).await.unwrap();
    assert!(asked("eth_call") > before);
    assert_eq!(client.root(NETWORK, Epoch(0)).await.unwrap(), None);

    ledger.state().height = 40;
    assert_eq!(*client.manifest(NETWORK, Epoch(1)).await.unwrap(), manifest());
    assert_eq!(client.root(NETWORK, Epoch(0)).await.unwrap(), Some(B256::repeat_byte(1)));
    let before = asked("eth_call");
    client.manifest(NETWORK, Epoch(1)).await.unwrap();
    client.clock().await.unwrap();
    assert_eq!(asked("eth_call"), before);
    // A root can be disputed: it is read each time.
    client.root(NETWORK, Epoch(0)).await.unwrap();
    assert!(asked("eth_call") > before);
}

#[tokio::test]
async fn all_parts_of_a_view_are_of_the_height_asked_for() {
    let ledger = Ledger::with(|_, input, _: &State| devices(input, |i| i)).await;
    ledger.client().await.roster(NETWORK, Height(9)).await.unwrap();
    let blocks = ledger.state().blocks.clone();
    assert_eq!(
        blocks.len(),
        11,
        "a count, three places, records and stakes, and what one owner lost"
    );
    assert!(blocks.iter().all(|block| block == "0x9"), "{blocks:?}");
}

#[tokio::test]
async fn an_answer_that_is_no_number_is_refused() {
    let ledger = Ledger::start().await;
    let error = ledger.client().await.roster(NETWORK, Height(9)).await.unwrap_err();
    assert!(matches!(error, CallError::Decode(_)), "{error}");
}
