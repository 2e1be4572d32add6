use super::*;
use crate::genesis::{GENESIS_FORMAT, Genesis};
use alloy_primitives::Address;
use std::{collections::BTreeMap, sync::Arc};

fn keys(n: u8) -> ValidatorKeys {
    ValidatorKeys::derive(&[n; 32])
}

fn genesis() -> Genesis {
    Genesis {
        format: GENESIS_FORMAT,
        chain_id: 0xDE91,
        timestamp_ms: 1_800_000_000_000,
        epoch_length: 30,
        term_length: 100,
        validators: vec![
            keys(1).validator(Address::repeat_byte(1)),
            keys(2).validator(Address::repeat_byte(2)),
        ],
        allocations: BTreeMap::new(),
        contracts: BTreeMap::new(),
    }
}

fn chain() -> (Chain, Header) {
    let genesis = genesis();
    let committee = genesis.check().unwrap();
    let state =
        StateCommitment { root: B256::ZERO, ops_root: B256::ZERO, ops_start: 0, ops_end: 1 };
    let header = genesis.block(&committee, state).header().clone();
    let committee = Arc::new(committee);
    (Chain { chain_id: genesis.chain_id, epoch_length: genesis.epoch_length, committee }, header)
}

fn draft(chain: &Chain, parent: &Header, now: u64) -> Header {
    chain.draft(parent, &keys(1), (0, View::new(1), View::zero()), now).unwrap()
}

#[test]
fn a_draft_keeps_every_rule() {
    let (chain, mut parent) = chain();
    for height in 1..70 {
        let header = draft(&chain, &parent, parent.timestamp_ms + 500);
        assert_eq!(chain.check(&header, &parent), Ok(()));
        assert_eq!(header.epoch, height / 30);
        parent = header;
    }
}

#[test]
fn every_broken_rule_is_named() {
    let (chain, parent) = chain();
    let good = draft(&chain, &parent, parent.timestamp_ms + 500);
    let changed = |change: fn(&mut Header)| {
        let mut header = good.clone();
        change(&mut header);
        chain.check(&header, &parent).unwrap_err()
    };
    assert_eq!(changed(|h| h.chain_id += 1), RuleError::ChainId);
    assert_eq!(changed(|h| h.height += 1), RuleError::Parent);
    assert_eq!(changed(|h| h.parent = B256::ZERO), RuleError::Parent);
    assert_eq!(changed(|h| h.timestamp_ms -= 500), RuleError::Time);
    assert_eq!(changed(|h| h.timestamp_ms += MAX_STEP_MS), RuleError::Time);
    assert_eq!(changed(|h| h.proposer = keys(3).signer().public_key()), RuleError::Proposer);
    assert_eq!(changed(|h| h.beneficiary = Address::ZERO), RuleError::Beneficiary);
    assert_eq!(changed(|h| h.epoch += 1), RuleError::Epoch);
    assert_eq!(changed(|h| h.gas_limit += 1), RuleError::Gas);
    assert_eq!(changed(|h| h.base_fee += 1), RuleError::Gas);
    assert_eq!(changed(|h| h.committee = B256::ZERO), RuleError::Committee);
    assert_eq!(changed(|h| h.reveal[5] ^= 1), RuleError::Reveal);
    assert_eq!(changed(|h| h.mix = B256::ZERO), RuleError::Mix);
    // Another seat's reveal does not do.
    let other = chain.draft(&parent, &keys(2), (0, View::new(1), View::zero()), 0).unwrap();
    let mut header = good;
    (header.reveal, header.mix) = (other.reveal, other.mix);
    assert_eq!(chain.check(&header, &parent), Err(RuleError::Reveal));
}

#[test]
fn time_goes_forward_whatever_the_clock_says() {
    let (chain, parent) = chain();
    assert_eq!(draft(&chain, &parent, 0).timestamp_ms, parent.timestamp_ms + 1);
    let late = draft(&chain, &parent, u64::MAX);
    assert_eq!(late.timestamp_ms, parent.timestamp_ms + MAX_STEP_MS);
    assert_eq!(chain.check(&late, &parent), Ok(()));
}

#[test]
fn one_block_bridges_a_stop() {
    let (chain, parent) = chain();
    let weekend = parent.timestamp_ms + 3 * 86_400_000;
    let header = draft(&chain, &parent, weekend);
    assert_eq!(header.timestamp_ms, weekend);
    assert_eq!(chain.check(&header, &parent), Ok(()));
}

#[test]
fn strangers_draft_nothing() {
    let (chain, parent) = chain();
    assert!(chain.draft(&parent, &keys(9), (0, View::new(1), View::zero()), 0).is_none());
}

#[test]
fn the_genesis_block_commits_to_the_file() {
    let digest = |change: fn(&mut Genesis)| {
        let mut genesis = genesis();
        change(&mut genesis);
        genesis.digest()
    };
    let changes: [fn(&mut Genesis); 6] = [
        |_| (),
        |g| g.chain_id += 1,
        |g| g.timestamp_ms += 1,
        |g| g.epoch_length += 1,
        |g| g.allocations.extend([(Address::ZERO, alloy_primitives::U256::from(1))]),
        |g| g.validators.truncate(1),
    ];
    let digests: std::collections::BTreeSet<_> = changes.into_iter().map(digest).collect();
    assert_eq!(digests.len(), 6);
    let json = serde_json::to_string_pretty(&genesis()).unwrap();
    assert_eq!(serde_json::from_str::<Genesis>(&json).unwrap().digest(), genesis().digest());
    assert_eq!(chain().1.parent, genesis().digest());
}

#[test]
fn bad_genesis_files_are_refused() {
    use crate::genesis::GenesisError;
    let error = |change: fn(&mut Genesis)| {
        let mut genesis = genesis();
        change(&mut genesis);
        genesis.check().unwrap_err()
    };
    assert_eq!(error(|g| g.format = 2), GenesisError::Format(2));
    assert_eq!(error(|g| g.term_length = 1), GenesisError::Length);
    assert_eq!(error(|g| g.epoch_length = 0), GenesisError::Length);
    assert_eq!(
        error(|g| g.allocations.extend([(Address::ZERO, alloy_primitives::U256::MAX)])),
        GenesisError::Supply
    );
    assert!(matches!(error(|g| g.validators.clear()), GenesisError::Committee(_)));
}
