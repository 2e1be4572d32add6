//! Key files are made once, opened with their passphrase only, and their cards checked.

use super::*;
use clap::Parser;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    passphrase: Passphrase,
}

fn passphrase(folder: &Path) -> Passphrase {
    let file = folder.join("passphrase");
    fs::write(&file, "correct horse\n").unwrap();
    Line::parse_from(["test", "--passphrase-file", file.to_str().unwrap()]).passphrase
}

#[test]
fn keys_are_made_once_and_their_card_is_theirs() {
    let folder = tempfile::tempdir().unwrap();
    let passphrase = passphrase(folder.path());
    let files = KeyFiles::new(&folder.path().join("node"));
    let endpoint: SocketAddr = "203.0.113.5:8548".parse().unwrap();
    let card = files.create(&passphrase, endpoint).unwrap();
    assert_eq!(Card::read(&files.card()).unwrap(), card);
    assert_eq!(card.peer(), format!("{}@203.0.113.5:8548", card.key));
    let seat = files.open("correct horse").unwrap();
    assert_eq!(seat.consensus().validator(card.account), card.seat());
    assert_ne!(seat.evidence().key().x(), seat.consensus().network_key());
    // Its bond answers for what it signs as an author of batches.
    assert_eq!(seat.consensus().author().key().x(), seat.consensus().network_key());
    assert!(files.open("wrong").is_err());
    let again = files.create(&passphrase, endpoint).unwrap_err().to_string();
    assert!(again.contains("not overwritten"), "{again}");
    let printed = format!("{seat:?}");
    assert!(!printed.contains(&alloy_primitives::hex::encode(seat.0.seed())), "{printed}");
}

#[test]
fn cards_that_nobody_could_use_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("card.json");
    let endpoint: SocketAddr = "203.0.113.5:8548".parse().unwrap();
    let [one, two] = [1, 2]
        .map(|n| Card::new(&ValidatorKeys::derive(&[n; 32]), Address::repeat_byte(n), endpoint));
    // Another's proof of possession.
    let rogue = Card { possession: two.possession, ..one.clone() };
    let later = Card { format: 2, ..one };
    for (bad, part) in [
        (serde_json::to_vec(&rogue).unwrap(), "possession"),
        (serde_json::to_vec(&later).unwrap(), "format 2"),
        (b"{}".to_vec(), "no validator card"),
        (vec![b' '; 20_000], "20000 bytes"),
    ] {
        fs::write(&path, bad).unwrap();
        let refused = format!("{:#}", Card::read(&path).unwrap_err());
        assert!(refused.contains(part), "{refused}");
    }
}
