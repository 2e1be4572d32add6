//! Files that people make, keep, mend by hand and send one another.

use super::contracts::config;
use crate::Target;
use agent::keystore;
use alloy_primitives::{Address, U256};
use consensus::{Founding, Genesis, SEED_KEY_BYTES, ValidatorKeys};
use contracts::{GenesisConfig, testing::network::VALIDATOR};
use protocol::manifest::Manifest;
use serde_json::{Value, json};
use wayleave::fuzzing;

/// Opening takes the work that the file asks for; more than this is not tried here.
const WORK_MAX: u64 = 16;

pub(super) const KEYSTORE: Target = Target {
    name: "keystore",
    about: "an Ethereum keystore with a device's, a seat's or an account's key",
    run: |bytes| {
        if keystore::check(bytes).is_err() {
            return false;
        }
        let file: Value = serde_json::from_slice(bytes).unwrap_or_default();
        let asked = &file["crypto"]["kdfparams"];
        let is_little = |name: &str| asked[name].as_u64().is_none_or(|asked| asked <= WORK_MAX);
        if !["n", "r", "p", "c"].into_iter().all(is_little) {
            return true;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("key.json");
        std::fs::write(&path, bytes).expect("a small file");
        let _ = keystore::open(&path, "testpassword");
        true
    },
    seeds: || {
        let ciphertext = "d172bf743a674da9cdad04534d56926ef8358534d458fffccd4e6ad2fbde479c";
        let mac = "2103ac29920d71da29f150d75b4a16dbe95cd73887b97bb5f3c4a7a9d4a16dbe";
        let salt = "ab0c7876052600dd703518d6fc3fe8984592145b591fc8fb5c6d43190334ba19";
        let derivations = [
            ("scrypt", json!({"dklen": 32, "n": 4, "r": 1, "p": 8, "salt": salt})),
            ("scrypt", json!({"dklen": 32, "n": 262_144, "r": 8, "p": 1, "salt": salt})),
            ("pbkdf2", json!({"dklen": 32, "c": 8, "prf": "hmac-sha256", "salt": salt})),
        ];
        let file = |(kdf, kdfparams): (&str, Value)| {
            json!({
                "crypto": {
                    "cipher": "aes-128-ctr",
                    "cipherparams": {"iv": "83dbcc02d8ccb40e466191a123791e0e"},
                    "ciphertext": ciphertext,
                    "kdf": kdf,
                    "kdfparams": kdfparams,
                    "mac": mac,
                },
                "id": "3198bc9c-6672-5ab3-d995-4942343ae5b6",
                "version": 3,
            })
            .to_string()
            .into_bytes()
        };
        derivations.map(file).to_vec()
    },
};

pub(super) const CARD: Target = Target {
    name: "card",
    about: "a validator's card",
    run: |bytes| same(bytes, fuzzing::card),
    seeds: || {
        let seat = ValidatorKeys::derive(&[1; 32]).validator(Address::repeat_byte(1));
        assert_eq!(seat.seed_key.len(), SEED_KEY_BYTES);
        let card = json!({
            "format": 1,
            "key": seat.key,
            "seedKey": seat.seed_key,
            "possession": seat.possession,
            "account": seat.account,
            "endpoint": "203.0.113.5:8548",
        });
        vec![card.to_string().into_bytes()]
    },
};

pub(super) const RULES: Target = Target {
    name: "manifest-json",
    about: "a manifest as a founder writes it, and the rules it must keep",
    run: |bytes| {
        let Ok(manifest) = serde_json::from_slice::<Manifest>(bytes) else { return false };
        let again = serde_json::to_vec(&manifest).expect("a manifest has a JSON form");
        assert_eq!(serde_json::from_slice::<Manifest>(&again).ok().as_ref(), Some(&manifest));
        manifest.validate().is_ok()
    },
    seeds: || {
        let manifest = &config().networks[0].manifest;
        vec![serde_json::to_vec_pretty(manifest).expect("a manifest has a JSON form")]
    },
};

pub(super) const FOUNDED: Target = Target {
    name: "genesis-summary",
    about: "a genesis file, as people are told what it founds",
    run: |bytes| fuzzing::founded(bytes).is_some(),
    seeds: || {
        let keys = ValidatorKeys::derive(&[1; 32]);
        // Little state, so that a mutation hits what is read; and not the devnet's number, which no ledger of
        // other people may have.
        let contracts = GenesisConfig { stablecoin: Vec::new(), networks: Vec::new(), ..config() };
        let founding = Founding {
            chain_id: 71_421,
            timestamp_ms: 1_790_000_000_000,
            term_length: contracts.seats.term_length,
            validators: vec![keys.validator(VALIDATOR).into()],
            allocations: [(VALIDATOR, U256::from(1_000_000))].into(),
            contracts,
        };
        let genesis = Genesis::found(founding).expect("a genesis");
        vec![serde_json::to_vec(&genesis).expect("a genesis has a JSON form")]
    },
};

pub(super) const RUNNING: Target = Target {
    name: "devnet-running",
    about: "where a running devnet says that it answers",
    run: |bytes| same(bytes, fuzzing::running),
    seeds: || {
        let running = json!({
            "rpc": "http://127.0.0.1:8545",
            "http": "http://127.0.0.1:8546",
            "control": "http://127.0.0.1:8547",
            "token": "0123456789abcdef",
            "s3": {
                "url": "http://127.0.0.1:9000",
                "key": "devnet",
                "secret": "secret",
            },
            "agents": 8,
        });
        vec![running.to_string().into_bytes()]
    },
};

/// Whether the bytes were taken; what they encode back to is taken for the same.
fn same(bytes: &[u8], decode: fn(&[u8]) -> Option<Vec<u8>>) -> bool {
    let Some(again) = decode(bytes) else { return false };
    assert_eq!(decode(&again).as_ref(), Some(&again));
    true
}
