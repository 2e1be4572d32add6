//! A vote on a replayed epoch: a commit while the round takes commits, its reveal after that.
//!
//! The salt is derived from a deterministic signature (RFC 6979) of the voting account over chain, network,
//! epoch and round: who has the account's key can reveal what it committed to, whatever else it lost, and
//! nobody else can guess the choice behind a ballot. The ballot itself is hashed by the ledger of this process.
//!
//! A commit is made again in every new round, and nothing is sent that could come too late: a transaction is
//! applied in the next block at the earliest.

use super::{Replayed, SettleEpochError, Settler};
use alloy_primitives::{B256, U256, keccak256};
use alloy_signer::SignerSync as _;
use alloy_sol_types::SolValue as _;
use client::{
    CallError, Intent, Revert, SendError, Signer,
    abi::{
        ISettlements::{self, Round},
        Outcome, Totals,
    },
    address,
};
use protocol::{Digest, Height, NetworkId, statement::Statement};
use settlement::Settled;

/// Gas that a reveal takes along for deciding an epoch. It is estimated on a state in which others in the same
/// block have not revealed yet; without it the one that decides would fail, and so would every round.
const DECIDING_GAS: u64 = 2_000_000;

/// What there is to do in a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Wait,
    Commit,
    Reveal,
}

/// How our vote stands in a round, as of a block.
#[derive(Clone, Copy, Debug)]
struct Standing {
    /// The block.
    at: Height,
    /// What we would commit to.
    ballot: B256,
    /// What we committed to, zero for nothing.
    committed: B256,
    /// What we revealed, zero for nothing.
    revealed: B256,
}

/// What to do next. Whoever sends is heard in a later block than the one that was looked at, and the ledger
/// must take the call as of that one too.
fn step(round: &Round, standing: &Standing) -> Step {
    let Standing { at: Height(at), ballot, committed, revealed } = *standing;
    let commits = round.opened == 0 || at < round.commitsUntil;
    if commits && committed != ballot {
        Step::Commit
    } else if round.opened != 0
        && (round.commitsUntil < at && at < round.revealsUntil)
        && committed == ballot
        && revealed.is_zero()
    {
        Step::Reveal
    } else {
        Step::Wait
    }
}

/// The salt of a ballot.
fn salt(
    signer: &Signer,
    chain_id: u64,
    (network, epoch): (u64, u64),
    round: u64,
) -> Result<B256, SettleEpochError> {
    let about = ("wayleave salt", chain_id, network, epoch, round).abi_encode_params();
    let signature = signer
        .sign_hash_sync(&keccak256(about))
        .map_err(|error| SettleEpochError::Sign(error.to_string()))?;
    Ok(keccak256(signature.as_bytes()))
}

/// Whether the ledger refuses a vote only since it comes too early, too late, or again.
fn is_untimely(revert: &Revert) -> bool {
    revert.is::<ISettlements::WrongRound>()
        || revert.is::<ISettlements::CommitsClosed>()
        || revert.is::<ISettlements::NotRevealing>()
        || revert.is::<ISettlements::AlreadyRevealed>()
        || revert.is::<ISettlements::AlreadyFinal>()
        || revert.is::<ISettlements::WrongEpoch>()
        || revert.is::<ISettlements::TooEarly>()
}

impl Settler {
    /// Votes on a replayed epoch as far as that is possible now. True once the epoch is decided, however.
    pub(super) async fn vote(
        &self,
        network: NetworkId,
        replayed: &Replayed,
        seatless: &mut Option<u64>,
    ) -> Result<bool, SettleEpochError> {
        let Some(signer) = &self.signer else { return Ok(false) };
        let client = &self.files.client;
        let (id, epoch) = (network.0, replayed.epoch.0);
        // By inputs that are not ours nothing we replay can be voted for: a reveal would be refused.
        let fixed = client.inputs_hash(network, replayed.epoch).await?;
        if fixed.is_some_and(|fixed| replayed.outcome.inputs != B256::from(fixed)) {
            return Ok(false);
        }
        let at = client.head().await.map_err(CallError::from)?;
        let ask = ISettlements::roundOfCall { network: id, epoch };
        let round = client.call_at(address::SETTLEMENTS, ask, at).await?;
        if *seatless == Some(round.term) {
            return Ok(false);
        }
        let (validator, number) = (signer.address(), round.number);
        let ask = ISettlements::voteOfCall { network: id, epoch, round: number, validator };
        let vote = client.call_at(address::SETTLEMENTS, ask, at).await?;
        let salt = salt(signer, client.chain_id(), (id, epoch), number)?;
        let outcome = replayed.outcome.clone();
        let ask = ISettlements::ballotHashCall {
            network: id,
            epoch,
            round: number,
            validator,
            outcome: outcome.clone(),
            salt,
        };
        let ballot = client.call_at(address::SETTLEMENTS, ask, at).await?;
        let standing = Standing { at, ballot, committed: vote.ballot, revealed: vote.choice };
        let (what, sent) = match step(&round, &standing) {
            Step::Wait => return Ok(false),
            Step::Commit => {
                let call = ISettlements::commitCall { network: id, epoch, round: number, ballot };
                ("commit", client.send(signer, address::SETTLEMENTS, &call).await)
            }
            Step::Reveal => {
                let call = ISettlements::revealCall { network: id, epoch, outcome, salt };
                // Whose reveal decides pays for that, and nobody knows whose it will be.
                let intent =
                    Intent { gas: DECIDING_GAS, ..Intent::call(address::SETTLEMENTS, &call) };
                ("reveal", client.send_intent(signer, intent).await)
            }
        };
        match sent {
            Ok(receipt) => client.wait_for(receipt.height).await,
            Err(error) => return self.unsent(error, round.term, seatless),
        };
        metrics::counter!("wayleave_settlement_votes_total", "step" => what).increment(1);
        tracing::debug!(epoch, round = number, what, "voted");
        Ok(client.outcome(network, replayed.epoch).await?.is_some())
    }

    /// A vote that was not taken: no failure if it was only not its time, or another committee decides.
    fn unsent(
        &self,
        error: SendError,
        term: u64,
        seatless: &mut Option<u64>,
    ) -> Result<bool, SettleEpochError> {
        match error.revert() {
            Some(revert) if is_untimely(revert) => Ok(false),
            // What we settled agrees with the decision or not, once there is one.
            Some(revert) if revert.is::<ISettlements::NotValidator>() => {
                tracing::debug!(term, "no seat in the committee that votes");
                *seatless = Some(term);
                Ok(false)
            }
            _ => Err(error.into()),
        }
    }
}

/// What is voted on.
pub fn outcome(settled: &Settled) -> Outcome {
    let statement = &settled.statement;
    let totals = &statement.totals;
    Outcome {
        inputs: statement.inputs.into(),
        statement: Digest::into(statement.digest()),
        root: settled.tree.root(),
        totals: Totals {
            vested: U256::from(totals.vested.0),
            cash: U256::from(totals.earned.cash.0),
            card: U256::from(totals.earned.card.0),
            credit: U256::from(totals.earned.credit.0),
            spent: U256::from(totals.spent.0),
            burned: U256::from(totals.to_burn.0),
            slashed: U256::from(totals.slashed.0),
            toppedUp: U256::from(totals.topped_up.0),
            bootstrapped: U256::from(totals.bootstrapped.0),
        },
    }
}

/// How the contract names an outcome in votes and disputes.
pub fn choice(outcome: &Outcome) -> B256 {
    keccak256(outcome.abi_encode())
}

/// Whether what was decided is what `statement` gives: claims are paid by the root beside its hash.
///
/// It computes the statement's tree if the hashes are the same.
pub fn decides(decided: &Outcome, statement: &Statement) -> bool {
    statement.digest() == decided.statement.into()
        && choice(&Outcome::from(statement)) == choice(decided)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_decided_with_its_root_and_totals_or_not_at_all() {
        let statement = Statement::genesis(7, NetworkId(1));
        let decided = Outcome::from(&statement);
        assert!(decides(&decided, &statement));
        let root = Outcome { root: B256::repeat_byte(1), ..decided.clone() };
        let totals = Totals { cash: U256::from(1), ..decided.totals.clone() };
        let totals = Outcome { totals, ..decided.clone() };
        let other = Outcome { statement: B256::repeat_byte(1), ..decided };
        for false_one in [root, totals, other] {
            assert!(!decides(&false_one, &statement), "{false_one:?}");
        }
    }

    #[test]
    fn a_vote_is_committed_while_that_counts_and_revealed_only_after_it() {
        let none = Round { number: 1, term: 3, opened: 0, commitsUntil: 0, revealsUntil: 0 };
        let round = Round { opened: 10, commitsUntil: 14, revealsUntil: 18, ..none.clone() };
        let (ours, other, nothing) = (B256::repeat_byte(1), B256::repeat_byte(2), B256::ZERO);
        for (round, at, committed, revealed, expected) in [
            (&none, 9, nothing, nothing, Step::Commit),
            (&round, 10, nothing, nothing, Step::Commit),
            // It would be in block 14 at the earliest, and in 15 the call would fail.
            (&round, 13, nothing, nothing, Step::Commit),
            (&round, 14, nothing, nothing, Step::Wait),
            // A corrected judge replaces what was committed before, while it can.
            (&round, 12, other, nothing, Step::Commit),
            (&round, 15, other, nothing, Step::Wait),
            (&round, 12, ours, nothing, Step::Wait),
            (&round, 14, ours, nothing, Step::Wait),
            (&round, 15, ours, nothing, Step::Reveal),
            (&round, 17, ours, nothing, Step::Reveal),
            (&round, 18, ours, nothing, Step::Wait),
            (&round, 16, ours, other, Step::Wait),
            (&round, 16, nothing, nothing, Step::Wait),
        ] {
            let standing = Standing { at: Height(at), ballot: ours, committed, revealed };
            assert_eq!(step(round, &standing), expected, "{standing:?}");
        }
    }

    #[test]
    fn a_salt_follows_from_the_key_and_is_another_in_each_round() {
        let (one, two) = ([1u8, 2].map(|n| Signer::from_slice(&[n; 32]).unwrap())).into();
        let of = |signer, round| salt(signer, 7, (1, 5), round).unwrap();
        assert_eq!(of(&one, 1), of(&one, 1));
        assert_ne!(of(&one, 1), of(&one, 2));
        assert_ne!(of(&one, 1), of(&two, 1));
        assert_ne!(of(&one, 1), salt(&one, 8, (1, 5), 1).unwrap());
        assert_ne!(of(&one, 1), salt(&one, 7, (1, 6), 1).unwrap());
    }
}
