//! A ledger of headers alone, made by hand: many terms, changing committees, every certificate signed when it
//! is asked for.

use alloy_primitives::{Address, B256, Bytes, FixedBytes, U64};
use client::light::{Committee, HEADER_BYTES, Header, Origin, Seat};
use commonware_codec::Encode as _;
use commonware_consensus::{
    simplex::{
        scheme::ed25519::Scheme,
        types::{Finalization, Finalize, Proposal},
    },
    types::{Epoch, Round, View},
};
use commonware_cryptography::{Signer as _, certificate::Signers, ed25519::PrivateKey, sha256};
use commonware_parallel::Sequential;
use commonware_utils::{non_empty, ordered::Set};
use jsonrpsee::{
    RpcModule,
    server::{Server, ServerHandle},
    types::ErrorObjectOwned,
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{SystemTime, UNIX_EPOCH},
};

pub(crate) const CHAIN_ID: u64 = 77;
pub(crate) const TERM: u64 = 10;
const FILE: B256 = B256::repeat_byte(0xF1);

/// Keys of a committee.
pub(crate) type Keys = Vec<u64>;

fn key(n: u64) -> PrivateKey {
    PrivateKey::from_seed(n)
}

/// Seats of keys.
pub(crate) fn seats(keys: &[u64]) -> Vec<Seat> {
    let seat = |n: &u64| Seat {
        key: B256::from_slice(key(*n).public_key().as_ref()),
        seed_key: FixedBytes::ZERO,
        account: Address::ZERO,
    };
    keys.iter().map(seat).collect()
}

/// What a dishonest chain does otherwise.
#[derive(Default)]
pub(crate) struct Lies {
    /// Who signs from a height on, instead of the committee.
    pub(crate) usurper: Option<(u64, Keys)>,
    /// How many seats sign, instead of all.
    pub(crate) signers: Option<usize>,
    /// The seats said to be those of every later term.
    pub(crate) seats: Option<Keys>,
    /// The next committee that the last header of this term names.
    pub(crate) names: Option<(u64, Keys)>,
}

/// Committees by their first term, and the head.
pub(crate) struct Chain {
    offices: BTreeMap<u64, Keys>,
    head: u64,
    pub(crate) lies: Lies,
    pub(crate) asked: u32,
}

impl Chain {
    pub(crate) fn new(offices: impl IntoIterator<Item = (u64, Keys)>, head: u64) -> Self {
        Self { offices: offices.into_iter().collect(), head, lies: Lies::default(), asked: 0 }
    }

    pub(crate) fn origin(&self) -> Origin {
        let committee = Committee::new(&seats(self.office(0))).unwrap();
        Origin { digest: FILE, chain_id: CHAIN_ID, term_length: TERM, committee }
    }

    fn office(&self, term: u64) -> &Keys {
        self.offices.range(..=term).next_back().unwrap().1
    }

    /// The header at a height.
    pub(crate) fn header(&self, height: u64) -> Vec<u8> {
        let mut bytes = vec![0; HEADER_BYTES];
        let term = height / TERM;
        let last = height % TERM == TERM - 1;
        let mut names = self.office(if last { term + 1 } else { term });
        if let Some((_, keys)) = self.lies.names.as_ref().filter(|(at, _)| last && *at == term) {
            names = keys;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / 60 * 60_000;
        bytes[0] = 1;
        bytes[1..9].copy_from_slice(&CHAIN_ID.to_be_bytes());
        bytes[9..17].copy_from_slice(&height.to_be_bytes());
        bytes[17..25].copy_from_slice(&term.to_be_bytes());
        bytes[41..73].copy_from_slice(if height == 0 { &FILE[..] } else { &[0; 32] });
        bytes[73..81].copy_from_slice(&if height == 0 { 0 } else { now }.to_be_bytes());
        let committee = Committee::new(&seats(names)).unwrap().digest();
        bytes[565..597].copy_from_slice(committee.as_slice());
        bytes
    }

    /// The certificate of a header of this height.
    pub(crate) fn certificate(&self, height: u64, header: &[u8]) -> Vec<u8> {
        let usurper = self.lies.usurper.as_ref().filter(|(from, _)| height >= *from);
        let keys = usurper.map_or_else(|| self.office(height / TERM), |(_, keys)| keys);
        let genesis = Header::read(&self.header(0)).unwrap().hash;
        let namespace = [b"wayleave/ledger/1/", genesis.as_slice()].concat();
        let participants = || Set::from_iter_dedup(keys.iter().map(|n| key(*n).public_key()));
        let payload = sha256::Digest(Header::read(header).unwrap().hash.0);
        let round = Round::new(Epoch::new(height / TERM), View::new(3));
        let votes: Vec<_> = keys
            .iter()
            .map(|n| {
                let scheme = Scheme::signer(&namespace, participants(), key(*n)).unwrap();
                Finalize::sign(&scheme, Proposal::new(round, View::new(2), payload)).unwrap()
            })
            .collect();
        let scheme = Scheme::verifier(&namespace, participants());
        let votes = non_empty![@votes.iter()];
        let mut all: Finalization<Scheme, sha256::Digest> =
            Finalization::from_finalizes(&scheme, votes, &Sequential).unwrap();
        if let Some(count) = self.lies.signers {
            let kept: Vec<_> = all.certificate.signers.iter().take(count).collect();
            let seats = u32::try_from(keys.len()).unwrap();
            all.certificate.signers = Signers::new(seats, kept).unwrap();
            all.certificate.signatures.truncate(count);
        }
        all.encode().to_vec()
    }

    fn certified(&self, height: u64) -> Value {
        let header = self.header(height);
        let certificate = Bytes::from(self.certificate(height, &header));
        json!({ "headers": [Bytes::from(header)], "certificate": certificate })
    }
}

/// A chain behind JSON-RPC.
pub(crate) struct Served {
    pub(crate) chain: Arc<Mutex<Chain>>,
    pub(crate) url: String,
    _server: ServerHandle,
}

type Method = fn(&Chain, u64) -> Value;

impl Served {
    pub(crate) async fn start(chain: Chain) -> Self {
        let chain = Arc::new(Mutex::new(chain));
        let mut module = RpcModule::new(chain.clone());
        let methods: [(&'static str, Method); 6] = [
            ("eth_chainId", |_, _| json!(U64::from(CHAIN_ID))),
            ("eth_blockNumber", |chain, _| json!(U64::from(chain.head))),
            (
                "wayleave_header",
                |chain, height| json!({ "header": Bytes::from(chain.header(height)) }),
            ),
            ("wayleave_certified", Chain::certified),
            ("wayleave_proven", |chain, _| {
                let mut answer = chain.certified(chain.head);
                (answer["accounts"], answer["slots"]) = (json!([]), json!([]));
                answer
            }),
            ("wayleave_committee", |chain, term| {
                json!(seats(chain.lies.seats.as_ref().unwrap_or_else(|| chain.office(term))))
            }),
        ];
        for (name, method) in methods {
            module
                .register_method(name, move |params, chain: &Arc<Mutex<Chain>>, _| {
                    let mut chain = chain.lock().unwrap();
                    chain.asked += 1;
                    let number: Option<U64> = params.sequence().optional_next().unwrap_or_default();
                    Ok::<_, ErrorObjectOwned>(method(&chain, number.unwrap_or_default().to()))
                })
                .unwrap();
        }
        let server = Server::builder().build("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", server.local_addr().unwrap());
        Self { chain, url, _server: server.start(module) }
    }

    /// How many requests were answered since the last look.
    pub(crate) fn asked(&self) -> u32 {
        std::mem::take(&mut self.chain.lock().unwrap().asked)
    }

    pub(crate) fn lie(&self, lies: Lies) {
        self.chain.lock().unwrap().lies = lies;
    }
}
