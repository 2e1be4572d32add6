use super::*;
use proptest::prelude::*;
use protocol::{Digest, Height, key::DeviceSecret};

fn acceptance(byte: u8) -> Acceptance {
    let secret = DeviceSecret::from_seed([1; 32]);
    Acceptance::sign(&secret, 1, Digest([byte; 32]), (NetworkId(1), Epoch(2)), Height(3))
}

#[test]
fn requests_keep_their_bytes() {
    // These bytes are the protocol: a change of them is a new ALPN.
    for (request, bytes) in [
        (Request::Submit, "820080"),
        (Request::Inputs(NetworkId(1), Epoch(300)), "8201820119012c"),
        (Request::Statement(NetworkId(2), Epoch(0)), "8202820200"),
    ] {
        assert_eq!(hex(&request.to_bytes()), bytes);
        assert_eq!(Request::from_bytes(&request.to_bytes()), Ok(request));
    }
    for (response, bytes) in
        [(Response::Answers, "820080"), (Response::File, "820180"), (Response::Missing, "820280")]
    {
        assert_eq!(hex(&response.to_bytes()), bytes);
        assert_eq!(Response::from_bytes(&response.to_bytes()), Ok(response));
    }
    assert_eq!(hex(&Submit::new([vec![1], vec![]]).to_bytes()), "8182410140");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn answers_are_read_as_written() {
    let answers = Answers {
        answers: vec![
            Answer::Accepted(acceptance(1)),
            Answer::Replayed(acceptance(2)),
            Answer::Refused(Reason::OverQuota),
        ],
    };
    let read = Answers::from_bytes(&answers.to_bytes()).unwrap();
    assert_eq!(read, answers);
    assert_eq!(read.answers[1].accepted(), Ok(&acceptance(2)));
    assert_eq!(read.answers[2].accepted(), Err(Reason::OverQuota));
}

#[test]
fn too_much_is_refused_whole() {
    let many = Submit::new(vec![vec![]; ENVELOPES_MAX + 1]);
    assert_eq!(Submit::from_bytes(&many.to_bytes()), Err(WireError::TooLarge));
    let large = Submit::new([vec![0; SUBMIT_MAX]]);
    assert_eq!(Submit::from_bytes(&large.to_bytes()), Err(WireError::TooLarge));
    let full = Submit::new(vec![vec![0; 4_000]; ENVELOPES_MAX]);
    assert_eq!(Submit::from_bytes(&full.to_bytes()), Ok(full));
    let answers = Answers { answers: vec![Answer::Refused(Reason::Malformed); ENVELOPES_MAX + 1] };
    assert_eq!(Answers::from_bytes(&answers.to_bytes()), Err(WireError::TooLarge));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(submit) = Submit::from_bytes(&bytes) {
            prop_assert_eq!(submit.to_bytes(), bytes.clone());
        }
        if let Ok(answers) = Answers::from_bytes(&bytes) {
            prop_assert_eq!(answers.to_bytes(), bytes.clone());
        }
        if let Ok(request) = Request::from_bytes(&bytes) {
            prop_assert_eq!(request.to_bytes(), bytes.clone());
        }
        if let Ok(response) = Response::from_bytes(&bytes) {
            prop_assert_eq!(response.to_bytes(), bytes);
        }
    }
}
