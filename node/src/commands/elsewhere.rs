//! Whether the machines that a new node is told of (`--others`) run its ledger.
//!
//! Nodes of two ledgers refuse each other's connections without a word, so one with the wrong genesis file would
//! learn from its peers only that nobody answers. The HTTP of others says which file is theirs. That is their word
//! over plain HTTP: it ends a node that never ran, and only if nobody says otherwise.

use crate::{exit::Failure, http::Http};
use alloy_primitives::B256;
use serde::Deserialize;
use std::{path::Path, time::Duration};
use tokio::{task::JoinSet, time::timeout};

/// How long a machine's answer is waited for.
const ANSWER: Duration = Duration::from_secs(3);

/// What is read of a node's status. Older programs do not name their ledger.
#[derive(Debug, Deserialize)]
struct Status {
    chain_id: Option<u64>,
    genesis: Option<B256>,
}

/// A machine and its ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Said {
    url: String,
    chain_id: Option<u64>,
    genesis: B256,
}

/// Asks all of `urls` at once.
///
/// # Errors
/// [`Failure::Check`] if those that answer name another ledger than that of `file` with its `digest`, all of them.
pub(super) async fn check(urls: &[String], (file, digest): (&Path, B256)) -> anyhow::Result<()> {
    let http = Http::new();
    let asked: JoinSet<_> = urls.iter().map(|url| ask(http.clone(), url.clone())).collect();
    let said: Vec<_> = asked.join_all().await.into_iter().flatten().collect();
    judge(&said, (file, digest))
}

async fn ask(http: Http, url: String) -> Option<Said> {
    let path = format!("{}/v1/status", url.trim_end_matches('/'));
    let bytes = timeout(ANSWER, http.get(&path)).await.ok()?.ok()?;
    let Status { chain_id, genesis } = serde_json::from_slice(&bytes).ok()?;
    Some(Said { url, chain_id, genesis: genesis? })
}

fn judge(said: &[Said], (file, digest): (&Path, B256)) -> anyhow::Result<()> {
    let Some(first) = said.first() else { return Ok(()) };
    if said.iter().any(|said| said.genesis == digest) {
        return Ok(());
    }
    let Said { url, chain_id, genesis } = first;
    let chain = chain_id.map_or_else(String::new, |id| format!(" and chain id {id}"));
    Err(Failure::Check(format!(
        "{url} runs another ledger: its genesis file has digest {genesis}{chain}, and {} has {digest}; get the right file from somebody you trust and compare its digest (`wayleave init check`)",
        file.display()
    ))
    .into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_starts_unless_all_that_answer_run_another_ledger() {
        let (ours, theirs) = (B256::repeat_byte(1), B256::repeat_byte(2));
        let said = |genesis| Said { url: "http://a:1".into(), chain_id: Some(7), genesis };
        let judge = |said: &[Said]| judge(said, (Path::new("genesis.json"), ours));
        assert!(judge(&[]).is_ok(), "nobody to ask");
        assert!(judge(&[said(ours)]).is_ok());
        assert!(judge(&[said(theirs), said(ours)]).is_ok(), "one stranger stops nobody");
        let error = judge(&[said(theirs), said(theirs)]).unwrap_err().to_string();
        for part in ["http://a:1 runs another ledger", "chain id 7", "genesis.json has 0x0101"] {
            assert!(error.contains(part), "{error}");
        }
    }
}
