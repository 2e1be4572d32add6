//! From a genesis through thousands of terms: what changes of the committee cost, and what is no change.

use crate::{
    chain::{CHAIN_ID, Chain, Keys, Lies, Served, TERM, seats},
    real::options,
};
use alloy_primitives::Address;
use client::{
    CallError, Client, RpcError,
    abi::ISettlements,
    address,
    light::{Committee, Light, LightError, OFFICES_MAX},
};
use protocol::Height;

async fn client(served: &Served, kept: Option<&[u8]>) -> Client {
    let origin = served.chain.lock().unwrap().origin();
    Client::connect_trusting(&served.url, options(), (&origin, kept)).await.unwrap()
}

fn four(first: u64) -> Keys {
    (first..first + 4).collect()
}

#[tokio::test]
async fn thousands_of_terms_cost_requests_for_their_changes_only() {
    let offices = [(0, four(0)), (1_000, four(2)), (3_000, vec![1, 2, 3, 4, 5, 6, 7])];
    let head = 50_000;
    let served = Served::start(Chain::new(offices, head)).await;
    let trusting = client(&served, None).await;
    assert_eq!(trusting.chain_id(), CHAIN_ID);
    served.asked();
    let header = trusting.certified_header(Height(9_999)).await.unwrap();
    assert_eq!((header.term, served.asked()), (999, 1), "nothing changed: one request");
    let header = trusting.certified_header(Height(head)).await.unwrap();
    let asked = served.asked();
    assert!(asked < 40, "two changes among 5,000 terms: {asked} requests");
    let light = trusting.trust().unwrap();
    assert_eq!((light.term(), light.height()), (head / TERM, header.height));
    assert_eq!(light.committee().seats().len(), 7);
    // Certificates of past terms count by the committees of then.
    for height in [5, 9_999, 10_000, 29_999, 30_000] {
        trusting.certified_header(Height(height)).await.unwrap();
    }
    served.asked();

    // The next start goes on from there.
    let again = client(&served, Some(&light.to_bytes())).await;
    again.certified_header(Height(head)).await.unwrap();
    assert!(served.asked() <= 2, "the chain id and the header");
}

#[tokio::test]
async fn a_committee_that_changes_every_term_is_followed() {
    let changes = 3 * u64::try_from(OFFICES_MAX).unwrap();
    let offices = (0..=changes).map(|term| (term, four(term)));
    let served = Served::start(Chain::new(offices, changes * TERM + 3)).await;
    let trusting = client(&served, None).await;
    assert_eq!(trusting.head().await.unwrap(), Height(changes * TERM + 3));
    let asked = u64::from(served.asked());
    assert!(asked < 3 * changes, "{asked} requests for {changes} changes");
    let forgotten = trusting.certified_header(Height(5)).await.unwrap_err();
    assert_eq!(forgotten, LightError::Forgotten(0));
    // One that left and came back is one that is in office.
    let offices = [(0, four(0)), (2, four(9)), (4, four(0))];
    let served = Served::start(Chain::new(offices, 80)).await;
    let trusting = client(&served, None).await;
    assert_eq!(trusting.head().await.unwrap(), Height(80));
    assert!(served.asked() <= 4, "it certifies as before");
}

#[tokio::test]
async fn a_certificate_by_too_few_seats_is_none() {
    let served = Served::start(Chain::new([(0, four(0))], 30)).await;
    let trusting = client(&served, None).await;
    for (signers, holds) in [(3, true), (2, false), (1, false)] {
        served.lie(Lies { signers: Some(signers), ..Lies::default() });
        let result = trusting.certified_header(Height(25)).await.map(|header| header.height);
        let wanted = if holds { Ok(Height(25)) } else { Err(LightError::Certificate) };
        assert_eq!(result, wanted, "{signers} of 4");
    }
}

#[tokio::test]
async fn swapped_committees_are_caught() {
    let chain = || Chain::new([(0, four(0)), (2, four(9))], 50);
    // The seats given are not those that the header names.
    let served = Served::start(chain()).await;
    let lies = || Lies { usurper: Some((20, four(20))), seats: Some(four(20)), ..Lies::default() };
    served.lie(lies());
    let error = client(&served, None).await.certified_header(Height(45)).await.unwrap_err();
    assert!(matches!(error, LightError::WrongCommittee { .. }), "{error}");
    // The header that would name them is not certified by the committee in office.
    served.lie(Lies { usurper: Some((15, four(20))), names: Some((1, four(20))), ..lies() });
    let error = client(&served, None).await.certified_header(Height(45)).await.unwrap_err();
    assert_eq!(error, LightError::Certificate);
    // No change is shown, and others certify.
    let served = Served::start(Chain::new([(0, four(0))], 50)).await;
    served.lie(Lies { usurper: Some((20, four(20))), ..Lies::default() });
    let error = client(&served, None).await.certified_header(Height(45)).await.unwrap_err();
    assert_eq!(error, LightError::Certificate);
}

#[tokio::test]
async fn a_committee_out_of_office_certifies_nothing_new() {
    let served = Served::start(Chain::new([(0, four(0)), (2, four(9))], 50)).await;
    let trusting = client(&served, None).await;
    trusting.certified_header(Height(25)).await.unwrap();
    served.lie(Lies { usurper: Some((26, four(0))), seats: Some(four(0)), ..Lies::default() });
    for height in [27, 45] {
        let error = trusting.certified_header(Height(height)).await.unwrap_err();
        assert_eq!(error, LightError::Certificate, "height {height}");
    }
    // Nor does it hand over once more.
    let mut light = trusting.trust().unwrap();
    let last = trusting.certified_header(Height(9)).await.unwrap();
    let next = Committee::new(&seats(&four(0))).unwrap();
    assert!(matches!(light.hand_over(&last, next), Err(LightError::Old { .. })));
}

#[tokio::test]
async fn two_headers_of_one_height_are_a_fork() {
    let served = Served::start(Chain::new([(0, four(0))], 19)).await;
    let trusting = client(&served, None).await;
    trusting.certified_header(Height(19)).await.unwrap();
    served.lie(Lies { names: Some((1, four(5))), ..Lies::default() });
    let error = trusting.certified_header(Height(19)).await.unwrap_err();
    assert_eq!(error, LightError::Fork(Height(19)));
}

#[tokio::test]
async fn a_signed_genesis_proves_no_state() {
    let chain = Chain::new([(0, four(0))], 19);
    let header = chain.header(0);
    let light = Light::new(&chain.origin(), &header).unwrap();
    let certificate = chain.certificate(0, &header);
    assert!(matches!(light.certified(&header, &certificate), Err(LightError::WrongHeader(_))));
    let mut other = chain.origin();
    other.chain_id += 1;
    assert!(matches!(Light::new(&other, &header), Err(LightError::WrongHeader(_))));
    let served = Served::start(chain).await;
    let error = Client::connect_trusting(&served.url, options(), (&other, None)).await.unwrap_err();
    assert!(matches!(error, RpcError::Chain { .. }), "{error}");
}

#[tokio::test]
async fn a_past_state_is_not_confused_with_the_newest() {
    let served = Served::start(Chain::new([(0, four(0))], 50_000)).await;
    let trusting = client(&served, None).await;
    let call = || ISettlements::clockCall {};
    let at = async |height| match trusting.call_at(address::SETTLEMENTS, call(), height).await {
        Err(CallError::Rpc(RpcError::Untrue { why, .. })) => *why,
        other => panic!("{other:?}"),
    };
    let (asked, newest) = (Height(49_000), Height(50_000));
    assert_eq!(at(asked).await, LightError::Past { asked, newest });
    // The newest state is withheld here.
    assert!(matches!(at(Height(49_999)).await, LightError::WithheldSlot { .. }));
    let foreign = trusting.call(Address::ZERO, call()).await;
    let zero = LightError::Foreign(Address::ZERO);
    assert!(matches!(foreign, Err(CallError::Rpc(RpcError::Untrue { why, .. })) if *why == zero));
}
