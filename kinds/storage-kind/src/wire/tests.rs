use super::*;
use alloy_primitives::keccak256;
use alloy_signer::SignerSync as _;
use alloy_signer_local::PrivateKeySigner;
use proptest::prelude::*;

fn shard(seed: u8, bytes: u64) -> Shard {
    Shard { hash: Digest([seed; 32]), bytes }
}

fn commit() -> Commit {
    Commit {
        rail: RailId(7),
        base: 3,
        version: 5,
        added: vec![shard(1, 10), shard(2, SHARD_MAX)],
        removed: vec![Digest([3; 32]), Digest([4; 32])],
    }
}

fn voucher() -> SignedVoucher {
    let voucher = protocol::voucher::Voucher {
        network: NetworkId(1),
        rail: RailId(7),
        nonce: 4,
        amount: Micros(900),
    };
    SignedVoucher { voucher, signature: [5; 65] }
}

fn get() -> Get {
    Get {
        rail: RailId(7),
        shard: Digest([1; 32]),
        offset: 0,
        length: 1,
        form: Form::Slice,
        voucher: Some(voucher()),
    }
}

fn requests() -> Vec<Request> {
    vec![
        Request::Introduce(Introduction { signature: [9; 65] }),
        Request::Terms,
        Request::Put(Put { rail: RailId(7), shard: shard(1, SHARD_MAX) }),
        Request::Get(get()),
        Request::Get(Get { form: Form::Plain, voucher: None, length: SHARD_MAX, ..get() }),
        Request::Holds(RailId(7), vec![Digest([2; 32]); HOLDS_MAX]),
        Request::Stat(RailId(7)),
        Request::Commit(commit()),
    ]
}

fn responses() -> Vec<Response> {
    let dataset = inputs::Dataset { rail: RailId(7), version: 5, root: Digest([6; 32]), bytes: 12 };
    let refusals = [
        Refusal::Malformed,
        Refusal::NotIntroduced,
        Refusal::BadIntroduction,
        Refusal::UnknownRail,
        Refusal::NotYourRail,
        Refusal::Full,
        Refusal::BadShard,
        Refusal::NotHeld(Digest([1; 32])),
        Refusal::OutOfRange,
        Refusal::VoucherNeeded(Micros(3)),
        Refusal::BadVoucher,
        Refusal::StaleBase(4),
        Refusal::BadCommit(Digest([1; 32])),
        Refusal::Busy,
        Refusal::Disk,
        Refusal::Leaving,
    ];
    let answers = [
        Response::Welcome(Account::with_last_byte(9)),
        Response::Terms(Terms {
            device: DeviceId([1; 32]),
            network: NetworkId(1),
            owner: Account::with_last_byte(2),
            price: Micros(3),
            delivery_price: Micros(4),
            free: 5,
            leaving: true,
        }),
        Response::Stored,
        Response::Data(6),
        Response::Holds(vec![true, false]),
        Response::Stat(Stat { version: 1, root: Digest([2; 32]), bytes: 3, shards: 4 }),
        Response::Committed(Committed { dataset, signature: [7; 64] }),
    ];
    answers.into_iter().chain(refusals.map(Response::Refused)).collect()
}

#[test]
fn every_message_reads_back_and_is_deterministic_cbor() {
    for request in requests() {
        let bytes = request.to_bytes();
        assert_eq!(cbor::check(&bytes), Ok(()), "{request:?}");
        assert_eq!(Request::from_bytes(&bytes), Ok(request));
    }
    for response in responses() {
        let bytes = response.to_bytes();
        assert_eq!(cbor::check(&bytes), Ok(()), "{response:?}");
        assert_eq!(Response::from_bytes(&bytes), Ok(response));
    }
}

#[test]
fn the_largest_commit_fits_a_header_and_the_largest_slice_a_body() {
    let hash = |i: usize| Digest::of(&i.to_be_bytes());
    let mut removed: Vec<Digest> = (0..CHANGES_MAX).map(hash).collect();
    removed.sort();
    let added = removed.iter().map(|hash| Shard { hash: *hash, bytes: SHARD_MAX }).collect();
    let full = Request::Commit(Commit { added, removed, version: u64::MAX, ..commit() });
    let bytes = full.to_bytes();
    assert!(bytes.len() <= HEADER_MAX, "{}", bytes.len());
    assert_eq!(Request::from_bytes(&bytes), Ok(full));
    let parents = (SHARD_MAX / crate::bao::CHUNK - 1) * 64;
    assert!(8 + SHARD_MAX + parents <= u64::try_from(BODY_MAX).unwrap());
}

#[test]
fn what_is_beyond_a_bound_is_refused_by_name() {
    let refused = |request: Request| Request::from_bytes(&request.to_bytes()).unwrap_err();
    let put = |bytes| Request::Put(Put { rail: RailId(1), shard: shard(1, bytes) });
    assert_eq!(refused(put(0)), WireError::Bound("the shard's size"));
    assert_eq!(refused(put(SHARD_MAX + 1)), WireError::Bound("the shard's size"));
    assert_eq!(refused(Request::Get(Get { length: 0, ..get() })), WireError::Bound("the range"));
    let many = Request::Holds(RailId(1), vec![Digest([2; 32]); HOLDS_MAX + 1]);
    assert_eq!(refused(many), WireError::Bound("the list of shards"));
    let wrong = |change: fn(&mut Commit)| {
        let mut commit = commit();
        change(&mut commit);
        refused(Request::Commit(commit))
    };
    assert_eq!(wrong(|c| c.version = c.base), WireError::Bound("the version"));
    assert_eq!(wrong(|c| c.added.reverse()), WireError::Bound("the list of added shards"));
    assert_eq!(wrong(|c| c.added[1] = c.added[0]), WireError::Bound("the list of added shards"));
    assert_eq!(wrong(|c| c.added[0].bytes = 0), WireError::Bound("an added shard's size"));
    assert_eq!(wrong(|c| c.removed.reverse()), WireError::Bound("the list of removed shards"));
    let answers = Response::Holds(vec![true; HOLDS_MAX + 1]).to_bytes();
    assert_eq!(Response::from_bytes(&answers), Err(WireError::Bound("the list of answers")));
    let long = vec![0; HEADER_MAX + 1];
    assert_eq!(Request::from_bytes(&long), Err(WireError::TooLarge(HEADER_MAX + 1)));
}

#[test]
fn another_encoding_of_the_same_message_is_refused() {
    let bytes = Request::Stat(RailId(7)).to_bytes();
    assert_eq!(bytes.last(), Some(&7));
    let mut longer = bytes[..bytes.len() - 1].to_vec();
    longer.extend_from_slice(&[0x18, 7]);
    assert_eq!(
        Request::from_bytes(&longer),
        Err(WireError::Decode(cbor::DecodeError::NotCanonical))
    );
    assert!(Request::from_bytes(&[&bytes[..], &[0]].concat()).is_err());
}

#[test]
fn an_introduction_is_bound_to_the_peer_and_the_chain() {
    let contract = Account::with_last_byte(6);
    let domain = voucher::domain(57_233, contract);
    let signer = PrivateKeySigner::from_bytes(&B256::with_last_byte(1)).unwrap();
    let hash = Introduction::signing_hash(&domain, [8; 32]);
    let introduction = Introduction { signature: signer.sign_hash_sync(&hash).unwrap().as_bytes() };
    assert_eq!(introduction.signer(&domain, [8; 32]), Some(signer.address()));
    assert_ne!(introduction.signer(&domain, [9; 32]), Some(signer.address()));
    let elsewhere = voucher::domain(1, contract);
    assert_ne!(introduction.signer(&elsewhere, [8; 32]), Some(signer.address()));
    assert_eq!(Introduction { signature: [0xff; 65] }.signer(&domain, [8; 32]), None);

    // As EIP-712 says, by hand.
    let message = keccak256([keccak256("Service(bytes32 peer)").0, [8; 32]].concat());
    let by_hand = keccak256([&[0x19, 0x01][..], &domain.separator().0, &message.0].concat());
    assert_eq!(hash, by_hand);
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
        let _ = Request::from_bytes(&bytes);
        let _ = Response::from_bytes(&bytes);
    }

    #[test]
    fn a_changed_byte_never_reads_as_the_same_request(
        which in 0usize..8, at: prop::sample::Index, bit in 0u8..8,
    ) {
        let request = requests().swap_remove(which);
        let mut bytes = request.to_bytes();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert_ne!(Request::from_bytes(&bytes).ok(), Some(request));
    }
}
