//! `wayleave init`: what several people do before a ledger of theirs has its first block.
//!
//! Each makes keys and a card, one makes the genesis of all cards, all compare its digest. The digest
//! covers every byte of the file, so who made it needs no trust beyond what `init check` shows.

pub(crate) mod check;
mod genesis;
mod rules;

use crate::{cli, keys::KeyFiles, out};

pub(crate) use check::{peers, read};

/// Runs an init command.
pub(crate) fn run(init: &cli::Init, json: bool) -> anyhow::Result<()> {
    match init {
        cli::Init::Key(arguments) => key(arguments, json),
        cli::Init::Genesis(arguments) => genesis::run(arguments, json),
        cli::Init::Check(arguments) => check::run(arguments, json),
    }
}

fn key(arguments: &cli::InitKey, json: bool) -> anyhow::Result<()> {
    let files = KeyFiles::new(&arguments.dir);
    let card = files.create(&arguments.passphrase, arguments.endpoint)?;
    if json {
        return out::json(&card);
    }
    let fact = |name: &str, value: String| (name.to_owned(), value);
    out::table(&[
        fact("key", card.key.to_string()),
        fact("account", card.account.to_string()),
        fact("seat's keystore", files.seat().display().to_string()),
        fact("account's keystore", files.account().display().to_string()),
        fact("card, for everybody", files.card().display().to_string()),
        fact("others connect with", format!("--bootstrap {}", card.peer())),
    ]);
    Ok(())
}
