//! Step 9, statement: the rows, what the next epoch needs, and the sums.
//!
//! What has ended is forgotten, so that a statement grows with what is alive: a rail that is not in the
//! inputs any more has ended for good, a device that is not on the roster has been retired for good. What
//! they paid, earned and lost stays in the accounts.

use super::{
    SettleError, accounts::Accounts, add, add_class, add_tokens, judge::Judged, pay::Payment, slash,
};
use protocol::{
    Digest, Micros, RailId, Reason,
    author::AuthorRow,
    inputs::{Device, Inputs},
    reason::Effect,
    statement::{Cause, Row, Statement, Totals, VERSION},
};

/// What the steps before found.
pub(super) struct Parts {
    pub(super) judged: Vec<Judged>,
    pub(super) payments: Vec<Payment>,
    pub(super) accounts: Accounts,
    pub(super) evidence: Digest,
    pub(super) authors: Vec<AuthorRow>,
}

/// Writes the statement.
pub(super) fn statement(
    inputs: &Inputs,
    previous: &Statement,
    parts: Parts,
) -> Result<Statement, SettleError> {
    let Parts { judged, payments, accounts, evidence, authors } = parts;
    let devices = inputs
        .roster
        .iter()
        .zip(&judged)
        .filter_map(|(device, judged)| {
            slash::remembered(device.id, previous.device(device.id), judged)
        })
        .collect();
    let paid = payments.iter().try_fold(Micros::ZERO, |mut sum, payment| {
        add(&mut sum, payment.now, "dollars spent").map(|()| sum)
    })?;
    let totals = totals(inputs, previous, paid, &accounts)?;
    let rails = payments
        .into_iter()
        .map(|payment| payment.state)
        .filter(|state| !state.by_rate.is_zero() || !state.by_voucher.is_zero())
        .collect();
    let rows =
        inputs.roster.iter().zip(judged).map(|(device, judged)| row(device, judged)).collect();
    Ok(Statement {
        version: VERSION,
        chain_id: inputs.chain_id,
        network: inputs.network,
        epoch: inputs.epoch,
        inputs: inputs.digest(),
        previous: previous.digest(),
        evidence,
        rows,
        rails,
        devices,
        accounts: accounts.states,
        totals,
        authors,
    })
}

fn totals(
    inputs: &Inputs,
    previous: &Statement,
    paid: Micros,
    accounts: &Accounts,
) -> Result<Totals, SettleError> {
    let mut totals = previous.totals;
    add(&mut totals.spent, paid, "dollars spent")?;
    add(&mut totals.to_burn, accounts.to_burn, "dollars to burn")?;
    add_tokens(&mut totals.topped_up, accounts.topped_up, "top-ups")?;
    add_tokens(&mut totals.bootstrapped, accounts.bootstrapped, "pay for presence")?;
    add_tokens(&mut totals.slashed, accounts.slashed, "slashes")?;
    let mut sums = Totals { earned: protocol::leaf::Dollars::default(), ..totals };
    sums.vested = protocol::Tokens::ZERO;
    for state in &accounts.states {
        for (class, amount) in
            [(0, state.earned.cash), (1, state.earned.card), (2, state.earned.credit)]
        {
            add_class(&mut sums.earned, class, amount, "dollars earned")?;
        }
        add_tokens(&mut sums.vested, state.vested(inputs.epoch), "tokens vested")?;
    }
    Ok(sums)
}

fn row(device: &Device, judged: Judged) -> Row {
    let finding = judged.finding;
    let mut row = Row {
        device: device.id,
        owner: device.owner,
        kind: device.kind,
        units: finding.units,
        quality: finding.quality,
        uniqueness: finding.uniqueness,
        duties_due: finding.duties.0,
        duties_met: finding.duties.1,
        paid: judged.paid,
        earned: judged.earned,
        top_up: judged.top_up,
        bootstrap: judged.bootstrap,
        slashed: judged.slashed,
        causes: finding.causes,
    };
    row.causes.extend(finding.faults);
    row.causes.extend(judged.causes);
    if row.paid.is_zero() && !row.causes.iter().any(|cause| explains_nothing(cause.reason)) {
        let reason = if finding.heard { Reason::NothingDue } else { Reason::Silent };
        row.causes.push(Cause::of(reason));
    }
    if row.causes.is_empty() {
        // Paid in full by rate, and the kind found nothing to add.
        row.causes.push(Cause::of(Reason::Proven));
    }
    row.causes.sort_unstable_by(|a, b| key(a).cmp(&key(b)));
    row.causes.dedup();
    row
}

/// Whether a reason says why nothing was paid.
const fn explains_nothing(reason: Reason) -> bool {
    match reason.effect() {
        Effect::Unpaid | Effect::Slashed => true,
        Effect::Paid => matches!(reason, Reason::NothingDue | Reason::RateCapped),
        Effect::Refused => false,
    }
}

fn key(cause: &Cause) -> (Option<RailId>, Reason, Option<u16>, &[Digest]) {
    (cause.rail, cause.reason, cause.duty, &cause.evidence)
}
