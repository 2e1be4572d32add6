//! One and four validators in the deterministic runtime, power cuts included.

use super::*;
use crate::{
    HistoryError, KeyProof, QueryError, Rejected, Subscription,
    testing::{
        CHAIN, COIN, FUNDS, NOBODY, STABLE, World, block_at, delegation, genesis, included, keys,
        launch, roots, set_ahead, signer, transaction, transfer,
    },
    trie, verify_state,
};
use alloy_eips::eip2718::Encodable2718 as _;
use alloy_primitives::{Address, B256, Bloom, BloomInput, U256};
use alloy_sol_types::{SolCall as _, sol};
use bytes::Bytes;
use commonware_runtime::{Clock as _, deterministic};
use contracts::address::STABLECOIN;
use execution::{Call, CallOutcome, Key};

sol! {
    function transfer(address to, uint256 amount) returns (bool);
    function balanceOf(address account) returns (uint256);
}

async fn balance(ledger: &Ledger, account: Address, height: u64) -> U256 {
    ledger.account(account, height).await.unwrap().balance
}

#[test]
fn transfers_are_carried_recorded_and_proven() {
    World::new(1, genesis(1, 1_000)).session(async |_, ledger| {
        assert_eq!(ledger.head().height(), 0);
        assert_eq!(ledger.chain_id(), CHAIN);
        let first = ledger.submit(&transfer(1, 0, COIN)).await.unwrap();
        let second = ledger.submit(&transfer(1, 1, 2 * COIN)).await.unwrap();
        assert_eq!(ledger.pending_nonce(signer(1).address()).await.unwrap(), 2);
        assert!(ledger.waiting(first).unwrap().is_some());

        let located = included(&ledger, second).await;
        assert_eq!(located.place.index, 1);
        assert!(located.receipt.envelope.status());
        let height = located.place.height;
        let block = ledger.block(height).unwrap().unwrap();
        assert_eq!(block.transaction_hashes().collect::<Vec<_>>(), [first, second]);
        assert_eq!(block.hash, located.block);
        assert_eq!(ledger.block_by_hash(block.hash).unwrap().unwrap(), block);
        assert_eq!(block.header.gas_used, 42_000);
        assert_eq!(ledger.receipts(height).unwrap().unwrap(), block.receipts);
        assert_eq!(block.block().unwrap().hash(), block.hash);
        assert!(ledger.waiting(first).unwrap().is_none());
        assert_eq!(ledger.load(), (0, 0));

        let now = ledger.head().height();
        assert_eq!(balance(&ledger, NOBODY, now).await, U256::from(3 * COIN));
        // The tips went to the proposer, the base fee to nobody.
        let tips = U256::from(42_000) * U256::from(1_000_000_000);
        assert_eq!(balance(&ledger, Address::repeat_byte(0xA0), now).await, tips);

        // A light client proves a receipt from the header alone.
        let receipts: Vec<_> = block.receipts.iter().map(|r| r.envelope.encoded_2718()).collect();
        let nodes = trie::prove(&receipts, 1).unwrap();
        trie::verify(block.header.receipts_root, 1, &receipts[1], &nodes).unwrap();
        // And the block from its certificate.
        assert!(ledger.certificate(height).await.unwrap().is_some());
        let metrics = ledger.metrics().await.unwrap();
        assert!(metrics.contains("_simplex_"), "{metrics}");
    });
}

#[test]
fn headers_keep_every_rule() {
    World::new(2, genesis(1, 1_000)).session(async |_, ledger| {
        block_at(&ledger, 10).await;
        let genesis_header = ledger.header(0).unwrap().unwrap();
        assert_eq!(genesis_header.parent, ledger.genesis().digest());
        assert_eq!(genesis_header.digest(), ledger.genesis_hash());
        let mut parent = genesis_header;
        for height in 1..=10 {
            let header = ledger.header(height).unwrap().unwrap();
            assert_eq!(header.parent, parent.digest());
            assert_eq!(header.epoch, height / 4);
            assert!(header.timestamp_ms > parent.timestamp_ms);
            assert_ne!(header.mix, parent.mix);
            if height > 1 {
                assert!(header.timestamp_ms >= parent.timestamp_ms + 500, "blocks keep the pace");
            }
            parent = header;
        }
    });
}

#[test]
fn system_contracts_run_and_their_events_are_found() {
    World::new(3, genesis(1, 1_000)).session(async |_, ledger| {
        let input = transferCall { to: NOBODY, amount: U256::from(70) }.abi_encode();
        let raw = transaction(2, 0, STABLECOIN, 0, input.into());
        let located = included(&ledger, ledger.submit(&raw).await.unwrap()).await;
        assert!(located.receipt.envelope.status());
        let height = located.place.height;
        let logs = located.receipt.envelope.logs();
        assert_eq!(logs[0].address, STABLECOIN);

        let holds = async |account: Address, height: u64| {
            let call = Call {
                to: Some(STABLECOIN),
                data: balanceOfCall { account }.abi_encode().into(),
                ..Call::default()
            };
            match ledger.call(call, height).await.unwrap().outcome {
                CallOutcome::Returned(data) => U256::from_be_slice(&data),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(holds(NOBODY, height).await, U256::from(70));
        assert_eq!(holds(NOBODY, height - 1).await, U256::ZERO);
        assert_eq!(holds(signer(2).address(), height - 1).await, U256::from(STABLE));

        let topic = logs[0].topics()[0];
        let found = |inputs: &[&[u8]]| {
            let heights = 0..=ledger.head().height();
            let may_match =
                |bloom: &Bloom| inputs.iter().all(|i| bloom.contains_input(BloomInput::Raw(i)));
            ledger.heights_with_logs(heights, may_match, 10).unwrap()
        };
        assert_eq!(found(&[STABLECOIN.as_slice(), topic.as_slice()]), [height]);
        assert_eq!(found(&[]), (0..=ledger.head().height()).take(10).collect::<Vec<_>>());
        assert!(found(&[NOBODY.as_slice()]).is_empty());
        assert_eq!(ledger.height_of(ledger.head().hash).unwrap(), Some(ledger.head().height()));
        assert_eq!(ledger.height_of(B256::repeat_byte(9)).unwrap(), None);
    });
}

#[test]
fn the_past_stays_readable_for_as_long_as_promised() {
    let mut world = World::new(4, genesis(1, 1_000));
    world.retention = Retention { undo: 6, blobs: None };
    world.session(async |_, ledger| {
        let mut expected = Vec::new();
        for nonce in 0..8 {
            let hash = ledger.submit(&transfer(1, nonce, COIN)).await.unwrap();
            let height = included(&ledger, hash).await.place.height;
            expected.push((height, U256::from(COIN) * U256::from(nonce + 1)));
        }
        let head = ledger.head().height();
        let oldest = ledger.oldest_state().unwrap();
        assert_eq!(oldest, head - 6);
        for (height, sum) in expected {
            if height > oldest {
                assert_eq!(balance(&ledger, NOBODY, height).await, sum, "at {height}");
                assert_eq!(balance(&ledger, NOBODY, height - 1).await, sum - U256::from(COIN));
            }
        }
        let pruned = ledger.account(NOBODY, oldest - 1).await.unwrap_err();
        assert!(matches!(pruned, QueryError::History(HistoryError::Pruned { .. })), "{pruned}");
        let ahead = ledger.account(NOBODY, u64::MAX).await.unwrap_err();
        assert!(matches!(ahead, QueryError::Unknown { .. }), "{ahead}");
    });
}

#[test]
fn keys_are_proven_present_and_absent_against_a_header() {
    World::new(5, genesis(1, 1_000)).session(async |_, ledger| {
        included(&ledger, ledger.submit(&transfer(1, 0, COIN)).await.unwrap()).await;
        let keys = vec![
            Key::Account(NOBODY),
            Key::Slot(STABLECOIN, U256::from(123_456)),
            Key::Account(Address::repeat_byte(0x77)),
            Key::Account(STABLECOIN),
        ];
        let proof = ledger.prove(keys.clone()).await.unwrap();
        let header = ledger.header(proof.height).unwrap().unwrap();
        assert_eq!(header.state.root, proof.root);
        let mut held = Vec::new();
        for (key, entry) in keys.iter().zip(&proof.entries) {
            let entry = &KeyProof::from_bytes(&entry.to_bytes()).unwrap();
            assert!(entry.to_bytes().len() < 1_024);
            held.push(verify_state(header.state.root, key, entry).unwrap());
            assert!(verify_state(B256::ZERO, key, entry).is_err());
            let other = Key::Account(Address::repeat_byte(0x78));
            if entry.claim().is_some() {
                assert!(verify_state(header.state.root, &other, entry).is_err());
            }
        }
        let account = execution::Account::decode(&held[0].unwrap());
        assert_eq!(account.balance, U256::from(COIN));
        assert_eq!((held[1], held[2]), (None, None));
        assert_eq!(execution::Account::decode(&held[3].unwrap()).nonce, 1);
        // A forged value does not verify.
        let KeyProof::Present { value, proof } = &proof.entries[0] else { panic!("absent") };
        let mut forged = value.clone();
        forged[31] ^= 1;
        let forged = KeyProof::Present { value: forged, proof: proof.clone() };
        assert!(verify_state(header.state.root, &keys[0], &forged).is_err());
        assert!(KeyProof::from_bytes(&[]).is_err() && KeyProof::from_bytes(&[1; 40]).is_err());
    });
}

#[test]
fn power_cuts_lose_nothing_final() {
    let mut world = World::new(6, genesis(1, 7));
    let (mut nonce, mut known) = (0, std::collections::BTreeMap::new());
    for cut in 0..6u64 {
        known = world.session(async |_, ledger| {
            // Everything that was final before is so now, and the state is of that height.
            for (height, root) in &known {
                assert_eq!(ledger.header(*height).unwrap().unwrap().state.root, *root);
            }
            let head = ledger.head().height();
            assert!(head >= known.keys().next_back().copied().unwrap_or(0));
            let sent = balance(&ledger, NOBODY, head).await;
            assert_eq!(sent, U256::from(COIN) * U256::from(nonce));
            let proof = ledger.prove(vec![Key::Account(NOBODY)]).await.unwrap();
            assert_eq!(proof.root, ledger.header(proof.height).unwrap().unwrap().state.root);

            let hash = ledger.submit(&transfer(1, nonce, COIN)).await.unwrap();
            nonce += 1;
            let height = included(&ledger, hash).await.place.height;
            assert_eq!(balance(&ledger, NOBODY, height - 1).await, sent);
            block_at(&ledger, height + cut % 3).await;
            roots(&ledger)
        });
    }
    assert!(known.len() > 12);
}

#[test]
fn one_seed_gives_one_history() {
    let run = || {
        let mut world = World::new(7, genesis(1, 5));
        let play = async |_: &deterministic::Context, ledger: Ledger| {
            let mut next = ledger.pending_nonce(signer(1).address()).await.unwrap();
            for _ in 0..3 {
                let hash = ledger.submit(&transfer(1, next, COIN)).await.unwrap();
                included(&ledger, hash).await;
                next += 1;
            }
            (roots(&ledger), ledger.head().hash)
        };
        (world.session(play), world.session(play))
    };
    assert_eq!(run(), run());
}

#[test]
fn terms_follow_one_another() {
    let mut world = World::new(8, genesis(1, 5));
    let terms = world.session(async |_, ledger| {
        block_at(&ledger, 17).await;
        (0..=17).map(|h| ledger.header(h).unwrap().unwrap().term).collect::<Vec<_>>()
    });
    assert_eq!(terms, (0..=17).map(|h| h / 5).collect::<Vec<_>>());
    world.session(async |_, ledger| block_at(&ledger, 23).await);
}

#[test]
fn blobs_are_carried_in_order_within_the_limit() {
    World::new(9, genesis(1, 1_000)).session(async |_, ledger| {
        let blobs: Vec<_> =
            (0..4u8).map(|n| Bytes::from(vec![n; crate::MAX_BLOBS_BYTES / 2])).collect();
        for blob in &blobs {
            assert_eq!(ledger.submit_blob(blob.clone()).unwrap(), crate::blob_hash(blob));
        }
        assert_eq!(ledger.submit_blob(blobs[0].clone()), Err(crate::BlobRefused::Known));
        let large = Bytes::from(vec![0; crate::MAX_BLOBS_BYTES + 1]);
        assert!(matches!(ledger.submit_blob(large), Err(crate::BlobRefused::Size(_))));
        let mut carried = Vec::new();
        let mut blocks: Subscription = ledger.subscribe_from(1);
        while carried.len() < blobs.len() {
            let block = blocks.next().await.unwrap().unwrap();
            let of_block = block.blobs.clone().unwrap();
            assert!(of_block.iter().map(Bytes::len).sum::<usize>() <= crate::MAX_BLOBS_BYTES);
            carried.extend(of_block);
        }
        assert_eq!(carried, blobs);
        assert_eq!(ledger.load(), (0, 0));
    });
}

#[test]
fn pruned_blobs_leave_headers_and_transactions() {
    let mut world = World::new(10, genesis(1, 1_000));
    world.retention = Retention { undo: 8, blobs: Some(3) };
    world.session(async |_, ledger| {
        ledger.submit_blob(Bytes::from_static(b"evidence")).unwrap();
        let hash = ledger.submit(&transfer(1, 0, COIN)).await.unwrap();
        let height = included(&ledger, hash).await.place.height;
        block_at(&ledger, height + 5).await;
        let block = ledger.block(height).unwrap().unwrap();
        assert_eq!((block.blobs.clone(), block.block()), (None, None));
        assert_eq!(block.transactions.len(), 1);
        // A block that had none still has none.
        let later = ledger.block(height + 1).unwrap().unwrap();
        assert_eq!(later.blobs.as_deref(), Some(&[][..]));
    });
}

#[test]
fn transactions_no_block_may_hold_are_refused_with_reasons() {
    World::new(11, genesis(1, 1_000)).session(async |_, ledger| {
        let refused = async |raw: &[u8]| ledger.submit(raw).await.unwrap_err();
        assert!(matches!(refused(b"").await, Rejected::Decode(_)));
        assert!(matches!(refused(&transfer(9, 0, 1)).await, Rejected::Invalid(_)));
        assert!(matches!(refused(&transfer(1, 5_000, 1)).await, Rejected::Pool(_)));
        assert!(matches!(refused(&transfer(1, 0, FUNDS)).await, Rejected::Invalid(_)));
        let raw = transfer(1, 0, COIN);
        included(&ledger, ledger.submit(&raw).await.unwrap()).await;
        let again = refused(&raw).await;
        assert!(again.to_string().contains("nonce too low"), "{again}");
    });
}

#[test]
fn a_transaction_that_another_made_unpayable_goes_away() {
    World::new(12, genesis(1, 1_000)).session(async |_, ledger| {
        // The first takes nearly everything by a call that was not known to when both were taken:
        // a transfer of value counts at submission, so the price of gas is what runs out here.
        let most = FUNDS - 2 * COIN;
        let first = ledger.submit(&transfer(1, 0, most)).await.unwrap();
        assert!(ledger.submit(&transfer(1, 1, 2 * COIN)).await.is_err());
        included(&ledger, first).await;
        // A gap waits and does not stop others.
        ledger.submit(&transfer(1, 2, 1)).await.unwrap();
        included(&ledger, ledger.submit(&transfer(2, 0, COIN)).await.unwrap()).await;
        assert_eq!(ledger.load().0, 1);
        included(&ledger, ledger.submit(&transfer(1, 1, 1)).await.unwrap()).await;
        let head = ledger.head().height();
        block_at(&ledger, head + 1).await;
        assert_eq!(ledger.load().0, 0);
    });
}

#[test]
fn a_nonce_used_by_an_authorization_leaves_nothing_behind() {
    World::new(13, genesis(1, 1_000)).session(async |_, ledger| {
        // The second's transaction waits for its first nonce, which an authorization uses in its place.
        let waiting = ledger.submit(&transfer(2, 1, COIN)).await.unwrap();
        let raw = delegation((1, 0), (2, 0));
        included(&ledger, ledger.submit(&raw).await.unwrap()).await;
        assert_eq!(ledger.pending_nonce(signer(2).address()).await.unwrap(), 2);
        let located = included(&ledger, waiting).await;
        assert!(located.receipt.envelope.status());
        assert_eq!(ledger.load().0, 0);
    });
}

#[test]
fn a_clock_behind_the_head_stops_nothing() {
    let mut file = genesis(1, 1_000);
    file.timestamp_ms = 3_600_000;
    World::new(14, file).session(async |runtime, ledger| {
        let began = runtime.current();
        let times = [block_at(&ledger, 1).await, block_at(&ledger, 6).await];
        assert!(runtime.current().duration_since(began).unwrap() < Duration::from_secs(10));
        assert_eq!(times.map(|block| block.header.timestamp_ms), [3_600_001, 3_600_006]);
    });
}

#[test]
fn reads_do_not_wait_for_calls() {
    World::new(15, genesis(1, 1_000)).session(async |_, ledger| {
        let height = ledger.head().height();
        let done = std::cell::Cell::new(0);
        let calls = (0..300).map(|_| async {
            let call = Call { to: Some(STABLECOIN), ..Call::default() };
            drop(ledger.call(call, height).await);
            done.set(done.get() + 1);
        });
        let calls = futures::future::join_all(calls);
        let submit = async {
            ledger.submit(&transfer(1, 0, COIN)).await.unwrap();
            done.get()
        };
        let (_, before) = futures::join!(calls, submit);
        assert!(before < 100, "{before} calls came first");
        assert_eq!(done.get(), 300);
    });
}

#[test]
fn blobs_are_kept_for_disputes_and_a_month() {
    let file = genesis(1, 1_000);
    // Two epochs of four blocks, and 30 days of two blocks a second.
    assert_eq!(file.dispute_blocks(), 8);
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let config = Config::new("unused".into(), listen, crate::testing::keys(0), file);
    assert_eq!(config.retention.blobs, Some(8 + 30 * 86_400 * 2));
}

#[test]
fn four_validators_agree() {
    let genesis = genesis(4, 1_000);
    let run = |seed: u64| {
        deterministic::Runner::seeded(seed).start(async |context: deterministic::Context| {
            let mut ledgers = Vec::new();
            for n in 0..4u8 {
                let history = History::open_in(
                    crate::MemoryFile::new(),
                    genesis.digest(),
                    Retention::default(),
                );
                let started = launch(&context, (n, genesis.clone()), Arc::new(history.unwrap()));
                ledgers.push(started.await);
            }
            // Three take a transaction and a blob; whoever leads carries all of them.
            let mut hashes = Vec::new();
            for (n, ledger) in (1u8..).zip(&ledgers[..3]) {
                hashes.push(ledger.submit(&transfer(n, 0, COIN)).await.unwrap());
                ledger.submit_blob(Bytes::from(vec![n; 100])).unwrap();
            }
            for hash in hashes {
                included(&ledgers[3], hash).await;
            }
            block_at(&ledgers[3], 5).await;
            let height = ledgers[3].head().height();
            let mut heads = Vec::new();
            for ledger in &ledgers {
                heads.push(block_at(ledger, height).await);
            }
            assert!(heads.windows(2).all(|pair| pair[0] == pair[1]));
            assert_eq!(balance(&ledgers[0], NOBODY, height).await, U256::from(3 * COIN));
            let proposers: std::collections::BTreeSet<_> =
                (1..=height).map(|h| ledgers[0].header(h).unwrap().unwrap().beneficiary).collect();
            assert!(proposers.len() > 1);
            heads[0].hash
        })
    };
    assert_eq!(run(1), run(1));
}

#[test]
fn a_proposer_days_ahead_loses_its_turn_and_takes_nobodys_time_along() {
    let genesis = genesis(4, 1_000);
    deterministic::Runner::seeded(5).start(async |context: deterministic::Context| {
        set_ahead(&keys(3), 10 * 86_400_000);
        let mut ledgers = Vec::new();
        for n in 0..4u8 {
            let file = crate::MemoryFile::new();
            let history = History::open_in(file, genesis.digest(), Retention::default());
            let started = launch(&context, (n, genesis.clone()), Arc::new(history.unwrap()));
            ledgers.push(started.await);
        }
        // Two rounds of all, so it had its turn.
        block_at(&ledgers[0], 12).await;
        let hash = ledgers[3].submit(&transfer(1, 0, COIN)).await.unwrap();
        let height = included(&ledgers[1], hash).await.place.height;
        let now = context.current().duration_since(std::time::UNIX_EPOCH).unwrap();
        for height in 1..=height {
            let header = ledgers[1].header(height).unwrap().unwrap();
            assert_ne!(header.beneficiary, Address::repeat_byte(0xA3));
            assert!(Duration::from_millis(header.timestamp_ms) <= now + Duration::from_secs(1));
        }
        // It follows the others all the same.
        block_at(&ledgers[3], height).await;
    });
}
