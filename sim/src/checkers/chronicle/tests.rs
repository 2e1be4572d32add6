use super::*;
use crate::{scenario::Scenario, world::people};
use commonware_runtime::{Runner as _, deterministic};
use consensus::Body;
use execution::next_base_fee;

/// A first block that keeps every rule of headers and commits to the state of genesis, which its own
/// execution changes.
fn first(chain: &Chronicle) -> Header {
    let parent = chain.first.clone();
    Header {
        height: 1,
        parent: parent.digest(),
        timestamp_ms: parent.timestamp_ms + 1,
        mix: B256::repeat_byte(1),
        base_fee: next_base_fee(parent.base_fee, parent.gas_used, parent.gas_limit),
        ..parent
    }
}

fn finalized(header: Header) -> Arc<Finalized> {
    let block = Block::build(header, Body::default()).unwrap();
    Arc::new(Finalized {
        hash: block.hash(),
        header: block.header().clone(),
        transactions: Vec::new(),
        receipts: Vec::new(),
        blobs: Some(Vec::new()),
    })
}

#[test]
fn a_chain_that_is_not_what_its_headers_say_is_found() {
    deterministic::Runner::seeded(1).start(async |context| {
        let plan = Scenario::find("calm").unwrap().plan(1, Some(1));
        let genesis = people::genesis(&plan).unwrap();
        let mut chain = Chronicle::begin(&context, genesis, BTreeSet::new()).await.unwrap();
        let says = async |chain: &mut Chronicle, header: Header| {
            chain.observe(&finalized(header)).await.unwrap_err().0
        };
        let good = first(&chain);
        let state = says(&mut chain, good.clone()).await;
        assert!(state.contains("makes the state"), "{state}");
        let receipts = Header { receipts_root: B256::ZERO, ..good.clone() };
        let receipts = says(&mut chain, receipts).await;
        assert!(receipts.contains("other receipts"), "{receipts}");
        let time = Header { timestamp_ms: chain.first.timestamp_ms, ..good.clone() };
        let time = says(&mut chain, time).await;
        assert!(time.contains("the rule of time"), "{time}");
        // What was final stays so.
        let genesis = chain.first.clone();
        assert_eq!(chain.same(0, Some(&genesis)), Ok(()));
        assert!(chain.same(0, Some(&good)).is_err() && chain.same(0, None).is_err());
        // A second block at a height that has one.
        chain.blocks.push(finalized(good.clone()));
        let other = Header { timestamp_ms: good.timestamp_ms + 1, ..good };
        let fork = says(&mut chain, other).await;
        assert!(fork.contains("two blocks are final"), "{fork}");
    });
}
