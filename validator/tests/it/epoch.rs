//! An epoch from the first envelope to the claim, with a restart of the worker in between.

use crate::{
    http::{get, post},
    world::{
        CHAIN, CLOCK, NETWORK, RAIL, Wall, World, device, finality, keys, operator, service, until,
    },
};
use alloy_primitives::{B256, U256};
use alloy_signer::SignerSync as _;
use bytes::Bytes;
use client::{abi::ISettlements, address};
use evidence::wire::{self, Answer, Answers, Request, Response, Submit};
use protocol::{
    Account, Digest, Epoch, Height, Micros, Reason,
    body::{Common, Report},
    clock::Clock as _,
    envelope::{Body, Envelope, Payload},
    inputs::Inputs,
    key::DeviceSecret,
    leaf::Leaf,
    statement::Statement,
    voucher::{SignedVoucher, Voucher, domain},
};
use transport::{BindConfig, Connection, Endpoint};

const AMOUNT: u64 = 1_000_000;

fn voucher(nonce: u64, amount: u64) -> Body {
    let voucher = Voucher { network: NETWORK, rail: RAIL, nonce, amount: Micros(amount) };
    let hash = voucher.signing_hash(&domain(CHAIN, address::RAILS));
    let signature = service().sign_hash_sync(&hash).unwrap().as_bytes();
    Common::Vouchers(vec![SignedVoucher { voucher, signature }]).to_body()
}

fn envelope(epoch: Epoch, sequence: u64, body: Body) -> Vec<u8> {
    let time_ms = Wall.now_ms();
    let payload = Payload { network: NETWORK, epoch, sequence, time_ms, body };
    Envelope::sign(&device(), &payload).bytes().to_vec()
}

pub(crate) async fn agent(world: &World) -> (Endpoint, Connection) {
    let local = "127.0.0.1:0".parse().unwrap();
    let endpoint = Endpoint::bind(BindConfig::new(device().seed(), local)).await.unwrap();
    let connection = endpoint.connection(world.worker.peer.unwrap(), wire::ALPN);
    (endpoint, connection)
}

/// Fetches the inputs of an epoch over iroh, as an agent does.
async fn inputs(connection: &Connection, epoch: Epoch) -> Option<Inputs> {
    let header = Request::Inputs(NETWORK, epoch).to_bytes();
    let (header, body) = connection.request(&header, Bytes::new()).await.unwrap();
    match Response::from_bytes(&header).unwrap() {
        Response::File => Some(Inputs::from_bytes(&body).unwrap()),
        other => {
            assert_eq!(other, Response::Missing);
            None
        }
    }
}

async fn submit(connection: &Connection, envelope: &[u8]) -> Answer {
    let body = Submit::new([envelope.to_vec()]).to_bytes();
    let (header, body) =
        connection.request(&Request::Submit.to_bytes(), body.into()).await.unwrap();
    assert_eq!(Response::from_bytes(&header), Ok(Response::Answers));
    Answers::from_bytes(&body).unwrap().answers.remove(0)
}

/// Waits for an epoch whose inputs have the rail and that is young enough for a restart within it, and
/// has a voucher of it accepted.
pub(crate) async fn accepted(world: &World, connection: &Connection) -> (Inputs, Vec<u8>) {
    let mut epoch = Epoch(0);
    until(&world.client, "an epoch with the rail", async || {
        while let Some(inputs) = inputs(connection, epoch).await {
            let late = Height(CLOCK.first(epoch).0 + CLOCK.length / 4);
            let early = world.client.head().await.unwrap() <= late;
            if early && let Some(nonce) = inputs.rail(RAIL).map(|rail| rail.nonce) {
                let envelope = envelope(epoch, 1, voucher(nonce, AMOUNT));
                match submit(connection, &envelope).await {
                    Answer::Accepted(acceptance) => {
                        acceptance.verify(CHAIN).unwrap();
                        assert_eq!(acceptance.digest, Digest::of(&envelope));
                        return Some((inputs, envelope));
                    }
                    // The epoch closed before the envelope came: the next will do.
                    answer => assert_eq!(answer, Answer::Refused(Reason::WrongEpoch)),
                }
            }
            epoch = epoch.next();
        }
        None
    })
    .await
}

pub(crate) async fn carried(world: &World, envelope: &[u8]) -> Height {
    let path = format!("/v1/evidence/{}", Digest::of(envelope));
    until(&world.client, "a block with the envelope", async || {
        let answer = get(world.http, &path).await;
        if answer.status == 200 {
            return Some(Height(answer.text().parse().unwrap()));
        }
        assert_eq!(answer.status, 404);
        None
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_accepted_is_settled_claimed_and_verified_across_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::start(folder.path()).await;
    let (endpoint, connection) = agent(&world).await;
    let (inputs, envelope) = accepted(&world, &connection).await;
    let epoch = inputs.epoch;
    // The worker stops before any block needs to hold the envelope.
    let world = world.restart_worker().await;
    let height = carried(&world, &envelope).await;
    assert!(CLOCK.accepts(epoch, height));

    finality(&world.client, epoch).await;
    assert_eq!(world.client.inputs_hash(NETWORK, epoch).await.unwrap(), Some(inputs.digest()));
    let statement = statement(&world, epoch).await;
    let row = statement.row(device().id()).unwrap();
    let paid = (Micros(AMOUNT), Micros(AMOUNT * 85 / 100));
    assert_eq!((row.paid, row.earned), paid, "{row:?}");
    let paid = row.causes.iter().find(|cause| cause.reason == Reason::VoucherPaid).unwrap();
    assert_eq!((paid.rail, &paid.evidence), (Some(RAIL), &vec![Digest::of(&envelope)]));
    let name = format!("/v1/statement/{NETWORK}/{epoch}.json");
    let json = get(world.http, &name).await.json();
    assert_eq!(json["totals"]["spent"], AMOUNT);

    claim(&world).await;
    verify(&world, epoch).await;
    endpoint.close().await;
    world.stop().await;
}

/// The statement over HTTP, as the ledger made it final.
async fn statement(world: &World, epoch: Epoch) -> Statement {
    let bytes = get(world.http, &format!("/v1/statement/{NETWORK}/{epoch}")).await;
    assert_eq!(bytes.status, 200);
    let outcome = world.client.outcome(NETWORK, epoch).await.unwrap().unwrap();
    assert_eq!(Digest::of(&bytes.body), outcome.statement.into());
    Statement::from_bytes(&bytes.body).unwrap()
}

/// The operator's newest claimable leaf, once it has earned.
async fn claimable(world: &World) -> ISettlements::claimCall {
    let path = format!("/v1/proof/{NETWORK}/{}", operator().address());
    until(&world.client, "a claim", async || {
        let proof = get(world.http, &path).await.json();
        let leaf: Leaf = serde_json::from_value(proof["leaf"].clone()).unwrap();
        let siblings: Vec<B256> = serde_json::from_value(proof["proof"].clone()).unwrap();
        assert_eq!(protocol::merkle::fold(leaf.hash(), &siblings).to_string(), proof["root"]);
        if proof["claimable"] == true && !leaf.earned.cash.is_zero() {
            let (epoch, leaf) = (proof["epoch"].as_u64().unwrap(), (&leaf).into());
            return Some(ISettlements::claimCall { epoch, leaf, proof: siblings });
        }
        None
    })
    .await
}

/// The operator claims with the proof that the validator gives, once.
async fn claim(world: &World) {
    let account = operator().address();
    let claim = claimable(world).await;
    let receipt = world.client.send(&operator(), address::SETTLEMENTS, &claim).await.unwrap();
    world.client.wait_for(receipt.height).await;
    let event: ISettlements::Claimed = receipt.event(address::SETTLEMENTS).unwrap();
    // The operator's 85 % and, as the only staker, the stakers' 2 %.
    assert_eq!((event.account, event.cash), (account, U256::from(AMOUNT * 87 / 100)));
    let purse = world.client.purse(NETWORK, account).await.unwrap();
    assert_eq!(purse.dollars, Micros(AMOUNT * 87 / 100));
    assert_eq!(U256::from(purse.tokens.0), event.vested);
    assert!(event.vested > U256::ZERO);
    let again = world.client.send(&operator(), address::SETTLEMENTS, &claim).await.unwrap_err();
    assert_eq!(again.revert().unwrap().name(), "NothingToClaim");
}

/// Anybody recomputes the epoch from the archive, and a changed archive is found.
async fn verify(world: &World, epoch: Epoch) {
    let outcome = world.client.outcome(NETWORK, epoch).await.unwrap().unwrap();
    let verified = validator::verify_epoch(&world.archive(), NETWORK, epoch).await.unwrap();
    assert_eq!(verified.root, outcome.root);
    assert_eq!(B256::from(verified.statement), outcome.statement);
    assert_eq!(B256::from(verified.inputs), outcome.inputs);
    assert_eq!(verified.envelopes, 1);
    let segment = world.archive().segment(NETWORK, epoch).await.unwrap().unwrap();
    assert_eq!(&segment[..4], b"PAR1");

    let evidence = world.archive_folder().join("evidence");
    for entry in std::fs::read_dir(&evidence).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    let without = validator::verify_epoch(&world.archive(), NETWORK, epoch).await;
    let error = without.unwrap_err().to_string();
    assert!(error.contains("settling gives statement"), "{error}");
    let nothing = validator::verify_epoch(&world.archive(), NETWORK, Epoch(99_999)).await;
    assert!(nothing.unwrap_err().to_string().contains("no inputs"));
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_get_their_reasons() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::start(folder.path()).await;
    let (endpoint, connection) = agent(&world).await;
    let (inputs, good) = accepted(&world, &connection).await;
    let stranger = DeviceSecret::from_seed([8; 32]);
    let report = Common::Report(Report { used: 0, free: 0, at: Height(0) }).to_body();
    let payload = Payload {
        network: NETWORK,
        epoch: inputs.epoch,
        sequence: 9,
        time_ms: Wall.now_ms(),
        body: report,
    };
    let unknown = Envelope::sign(&stranger, &payload).bytes().to_vec();
    let mut forged = good.clone();
    *forged.last_mut().unwrap() ^= 1;
    let body = Submit::new([good.clone(), unknown, forged, vec![1, 2, 3]]).to_bytes();
    let answer = post(world.http, "/v1/evidence", &body).await;
    assert_eq!(answer.status, 200);
    assert!(answer.head.contains("content-type: application/cbor"));
    assert!(!answer.head.contains("access-control-allow-methods: post"));
    let answers = Answers::from_bytes(&answer.body).unwrap().answers;
    assert!(matches!(answers[0], Answer::Replayed(_)), "{:?}", answers[0]);
    assert_eq!(answers[1], Answer::Refused(Reason::UnknownDevice));
    // The payload is known, so the forged signature is not even looked at, and proves nothing.
    assert_eq!(answers[2], answers[0]);
    assert_eq!(answers[3], Answer::Refused(Reason::Malformed));

    let large = vec![0; wire::SUBMIT_MAX + 1];
    for (path, body, status) in [
        ("/v1/evidence", &b"junk"[..], 400),
        ("/v1/evidence", &large[..], 413),
        ("/v1/nothing", &b""[..], 404),
    ] {
        assert_eq!(post(world.http, path, body).await.status, status, "{path}");
    }
    let nobody = format!("/v1/proof/{NETWORK}/{}", Account::repeat_byte(0xdd));
    for (path, status) in [
        ("/v1/evidence/zz", 400),
        ("/v1/evidence/0000000000000000000000000000000000000000000000000000000000000000", 404),
        ("/v1/inputs/1/99999", 404),
        ("/v1/inputs/1/x", 400),
        ("/v1/statement/1/99999", 404),
        ("/v1/statement/1/99999.json", 404),
        ("/v1/statement/1/x.json", 400),
        ("/v1/proof/9/0x0000000000000000000000000000000000000001", 404),
        ("/v1/proof/1/zz", 400),
        (nobody.as_str(), 404),
        ("/v1/status", 200),
    ] {
        let answer = get(world.http, path).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        assert!(answer.head.contains("access-control-allow-origin: *"), "{path}");
    }
    let status = get(world.http, "/v1/status").await.json();
    assert_eq!(status["validator"], Digest(keys(1).network_key()).to_string());
    let malformed = connection.request(b"\xff", Bytes::new()).await.unwrap_err();
    assert!(malformed.to_string().contains("refused"), "{malformed}");
    endpoint.close().await;
    world.stop().await;
}
