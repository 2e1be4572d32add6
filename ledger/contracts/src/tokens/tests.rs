//! Balances, allowances, permits by a digest worked out by hand, and votes.

use crate::abi::IToken::{
    self, ERC20InsufficientAllowance, ERC20InsufficientBalance, ERC20InvalidReceiver,
    ERC2612ExpiredSignature, ERC2612InvalidSigner, Transfer, permitCall,
};
use crate::abi::IVotes::{self, ERC5805FutureLookup, InvalidAccountNonce, VotesExpiredSignature};
use crate::address::STABLECOIN;
use crate::tests::world::{CHAIN, CUSTOMER, FOUNDER, FUNDS, OPERATOR, STRANGER, World, signer};
use alloy_primitives::{Address, B256, U256, b256, keccak256};
use alloy_signer::SignerSync as _;
use alloy_signer_local::PrivateKeySigner;
use alloy_sol_types::SolValue as _;

/// The hash of ERC-2612's `Permit(address owner,…,uint256 deadline)`, as the ERC publishes it.
const PERMIT: B256 = b256!("0x6e71edae12b1b97f4d1f60370fef10105fa2faae0126114a169c64845d6126c9");
/// The hash of `EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)`.
const DOMAIN: B256 = b256!("0x8b73c3c69bb8fe3d512ecc4cf759cc79239f7b179b0ffacaa9a75d522b39400f");

fn units(amount: u64) -> U256 {
    U256::from(amount)
}

fn domain_separator(name: &str, token: Address) -> B256 {
    let (name, version) = (keccak256(name), keccak256("1"));
    keccak256((DOMAIN, name, version, U256::from(CHAIN), token).abi_encode())
}

fn typed_digest(separator: B256, message: B256) -> B256 {
    keccak256([&[0x19, 0x01], separator.as_slice(), message.as_slice()].concat())
}

fn sign(signer: &PrivateKeySigner, digest: B256) -> (u8, B256, B256) {
    let signature = signer.sign_hash_sync(&digest).unwrap();
    (27 + u8::from(signature.v()), signature.r().into(), signature.s().into())
}

fn permit(signer: &PrivateKeySigner, nonce: u64, deadline: u64) -> permitCall {
    let (owner, spender, value) = (signer.address(), OPERATOR, units(70));
    let message = (PERMIT, owner, spender, value, units(nonce), units(deadline)).abi_encode();
    let separator = domain_separator("Test Dollar", STABLECOIN);
    let (v, r, s) = sign(signer, typed_digest(separator, keccak256(message)));
    permitCall { owner, spender, value, deadline: units(deadline), v, r, s }
}

#[test]
fn transfers_move_exactly_what_they_say() {
    let mut world = World::new();
    let value = units(FUNDS);
    world.ok(CUSTOMER, STABLECOIN, &IToken::transferCall { to: OPERATOR, value });
    assert_eq!(world.balance(STABLECOIN, OPERATOR), value);
    assert_eq!(world.balance(STABLECOIN, CUSTOMER), U256::ZERO);
    let sent = world.memory.events::<Transfer>(STABLECOIN);
    assert_eq!(sent.last(), Some(&Transfer { from: CUSTOMER, to: OPERATOR, value }));

    let one = IToken::transferCall { to: OPERATOR, value: U256::ONE };
    let failure = world.fails(CUSTOMER, STABLECOIN, &one);
    let expected =
        ERC20InsufficientBalance { sender: CUSTOMER, balance: U256::ZERO, needed: U256::ONE };
    assert_eq!(failure.revert(), Some(expected));
    let nowhere = IToken::transferCall { to: Address::ZERO, value: U256::ONE };
    let failure = world.fails(OPERATOR, STABLECOIN, &nowhere);
    assert_eq!(failure.revert(), Some(ERC20InvalidReceiver { receiver: Address::ZERO }));
    // To oneself changes nothing.
    world.ok(OPERATOR, STABLECOIN, &IToken::transferCall { to: OPERATOR, value });
    assert_eq!(world.balance(STABLECOIN, OPERATOR), value);
}

#[test]
fn allowances_are_used_up_unless_without_end() {
    let mut world = World::new();
    let take = |value| IToken::transferFromCall { from: CUSTOMER, to: OPERATOR, value };
    let failure = world.fails(OPERATOR, STABLECOIN, &take(U256::ONE));
    assert!(failure.revert::<ERC20InsufficientAllowance>().is_some());
    let approve = |value| IToken::approveCall { spender: OPERATOR, value };
    world.ok(CUSTOMER, STABLECOIN, &approve(units(10)));
    world.ok(OPERATOR, STABLECOIN, &take(units(6)));
    assert!(
        world
            .fails(OPERATOR, STABLECOIN, &take(units(5)))
            .revert::<ERC20InsufficientAllowance>()
            .is_some()
    );
    world.ok(CUSTOMER, STABLECOIN, &approve(U256::MAX));
    world.ok(OPERATOR, STABLECOIN, &take(units(5)));
    let left = IToken::allowanceCall { owner: CUSTOMER, spender: OPERATOR };
    assert_eq!(world.view(STABLECOIN, &left), U256::MAX);
    assert_eq!(world.balance(STABLECOIN, OPERATOR), units(11));
}

#[test]
fn permits_follow_erc_2612() {
    let mut world = World::new();
    let owner = signer(9);
    world.memory.accounts.insert(owner.address());
    let separator = world.view(STABLECOIN, &IToken::DOMAIN_SEPARATORCall {});
    assert_eq!(separator, domain_separator("Test Dollar", STABLECOIN));
    let deadline = world.memory.timestamp;

    let call = permit(&owner, 0, deadline);
    world.ok(STRANGER, STABLECOIN, &call);
    let allowance = IToken::allowanceCall { owner: owner.address(), spender: OPERATOR };
    assert_eq!(world.view(STABLECOIN, &allowance), units(70));
    let nonces = IToken::noncesCall { owner: owner.address() };
    assert_eq!(world.view(STABLECOIN, &nonces), U256::ONE);

    // Again, for another amount, in the high-s form, and too late.
    let replay = world.fails(STRANGER, STABLECOIN, &call);
    assert!(replay.revert::<ERC2612InvalidSigner>().is_some());
    let more = permitCall { value: units(71), ..permit(&owner, 1, deadline) };
    assert!(world.fails(STRANGER, STABLECOIN, &more).revert::<ERC2612InvalidSigner>().is_some());
    let good = permit(&owner, 1, deadline);
    let order = alloy_primitives::uint!(
        0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141_U256
    );
    let high = permitCall {
        v: 55 - good.v,
        s: (order - U256::from_be_bytes(good.s.0)).into(),
        ..good.clone()
    };
    assert!(world.fails(STRANGER, STABLECOIN, &high).revert::<ERC2612InvalidSigner>().is_some());
    let nobody = permitCall { owner: Address::ZERO, v: 1, ..good.clone() };
    assert!(world.fails(STRANGER, STABLECOIN, &nobody).revert::<ERC2612InvalidSigner>().is_some());
    world.memory.timestamp += 1;
    let late = world.fails(STRANGER, STABLECOIN, &good);
    assert_eq!(late.revert(), Some(ERC2612ExpiredSignature { deadline: units(deadline) }));
    assert_eq!(world.view(STABLECOIN, &nonces), U256::ONE);
}

#[test]
fn the_signing_domain_is_described() {
    let mut world = World::new();
    let domain = world.view(World::token(), &IToken::eip712DomainCall {});
    assert_eq!(domain.fields.0, [0x0f]);
    assert_eq!((domain.name.as_str(), domain.version.as_str()), ("Test Network", "1"));
    assert_eq!((domain.chainId, domain.verifyingContract), (U256::from(CHAIN), World::token()));
}

#[test]
fn votes_follow_balances_and_are_remembered() {
    let mut world = World::new();
    let token = World::token();
    let supply = world.view(token, &IToken::totalSupplyCall {});
    let votes = |account| IVotes::getVotesCall { account };
    assert_eq!(world.view(token, &votes(FOUNDER)), U256::ZERO);
    world.memory.height = 5;
    world.ok(FOUNDER, token, &IVotes::delegateCall { delegatee: CUSTOMER });
    assert_eq!(world.view(token, &votes(CUSTOMER)), supply);
    world.memory.height = 8;
    world.ok(FOUNDER, token, &IToken::transferCall { to: OPERATOR, value: units(30) });
    world.ok(OPERATOR, token, &IVotes::delegateCall { delegatee: OPERATOR });
    world.ok(FOUNDER, token, &IToken::transferCall { to: OPERATOR, value: units(4) });
    world.memory.height = 12;
    let past = |account, height| IVotes::getPastVotesCall { account, timepoint: units(height) };
    for (account, height, expected) in [
        (CUSTOMER, 4, U256::ZERO),
        (CUSTOMER, 5, supply),
        (CUSTOMER, 7, supply),
        (CUSTOMER, 8, supply - units(34)),
        (OPERATOR, 7, U256::ZERO),
        (OPERATOR, 11, units(34)),
    ] {
        assert_eq!(world.view(token, &past(account, height)), expected, "{account} at {height}");
    }
    let before = IVotes::getPastTotalSupplyCall { timepoint: U256::ZERO };
    assert_eq!(world.view(token, &before), supply);
    let failure = world.memory.view(token, &past(CUSTOMER, 12)).unwrap_err();
    assert!(failure.revert::<ERC5805FutureLookup>().is_some());
}

#[test]
fn votes_are_delegated_by_signature() {
    let mut world = World::new();
    let (token, owner) = (World::token(), signer(9));
    world.memory.accounts.insert(owner.address());
    world.ok(FOUNDER, token, &IToken::transferCall { to: owner.address(), value: units(8) });
    // keccak256("Delegation(address delegatee,uint256 nonce,uint256 expiry)"), as OpenZeppelin has it.
    let kind = b256!("0xe48329057bfd03d55e49b547132e39cffd9c1820ad7b9d4c5307691425d15adf");
    let call = |nonce: u64, expiry: u64| {
        let message = (kind, CUSTOMER, units(nonce), units(expiry)).abi_encode();
        let separator = domain_separator("Test Network", token);
        let (v, r, s) = sign(&owner, typed_digest(separator, keccak256(message)));
        let (delegatee, nonce, expiry) = (CUSTOMER, units(nonce), units(expiry));
        IVotes::delegateBySigCall { delegatee, nonce, expiry, v, r, s }
    };
    let now = world.memory.timestamp;
    let failure = world.fails(STRANGER, token, &call(1, now));
    assert!(failure.revert::<InvalidAccountNonce>().is_some());
    let failure = world.fails(STRANGER, token, &call(0, now - 1));
    assert!(failure.revert::<VotesExpiredSignature>().is_some());
    world.ok(STRANGER, token, &call(0, now));
    assert_eq!(world.view(token, &IVotes::getVotesCall { account: CUSTOMER }), units(8));
    assert_eq!(world.view(token, &IVotes::delegatesCall { account: owner.address() }), CUSTOMER);
    assert!(world.fails(STRANGER, token, &call(0, now)).revert::<InvalidAccountNonce>().is_some());
}
