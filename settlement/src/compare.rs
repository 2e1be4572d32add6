//! Which rows of two statements differ: what a dispute about an epoch is about (design 9).
//!
//! The statements may be anybody's: rows are matched by their ids, and what cannot be shown as a row that
//! differs is still said to differ. Only the first [`DIFFERENCES_MAX`] are kept, and all are counted.

use protocol::{
    Account, AuthorKey, DeviceId, Micros, RailId, Tokens,
    author::AuthorRow,
    leaf::Dollars,
    reward::Tranche,
    statement::{AccountState, Cause, DeviceState, RailState, Row, Statement, Totals},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Display},
};

/// How many differences are kept.
pub const DIFFERENCES_MAX: usize = 1_000;

/// What a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// The statement as a whole, its totals among it.
    Statement,
    /// A device.
    Device(DeviceId),
    /// A rail.
    Rail(RailId),
    /// An account.
    Account(Account),
    /// The author of a batch.
    Author(AuthorKey),
}

impl Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Statement => f.write_str("the statement"),
            Self::Device(device) => write!(f, "device {device}"),
            Self::Rail(rail) => write!(f, "rail {rail}"),
            Self::Account(account) => write!(f, "account {account}"),
            Self::Author(author) => write!(f, "author {author}"),
        }
    }
}

/// One field in which two statements differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Whose row it is.
    pub subject: Subject,
    /// The field, or `row` if only one statement has such a row.
    pub field: &'static str,
    /// What the first statement says, for people; nothing if it has no such row.
    pub first: Option<String>,
    /// What the second says.
    pub second: Option<String>,
}

/// In what two statements differ.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Differences {
    /// The first of them: of the statement as a whole, then by device, rail, account and author.
    pub kept: Vec<Difference>,
    /// How many there are.
    pub count: u64,
}

/// Compares two statements of one epoch. Nothing differs if, and only if, their bytes are the same.
pub fn differences(first: &Statement, second: &Statement) -> Differences {
    let mut found = Differences::default();
    let Statement { version, chain_id, network, epoch, inputs, previous, evidence, .. } = first;
    let Statement { rows, rails, devices, accounts, totals, authors, .. } = first;
    let whole = Subject::Statement;
    found.field(whole, "version", version, &second.version);
    found.field(whole, "chain", chain_id, &second.chain_id);
    found.field(whole, "network", network, &second.network);
    found.field(whole, "epoch", epoch, &second.epoch);
    found.field(whole, "inputs", inputs, &second.inputs);
    found.field(whole, "previous statement", previous, &second.previous);
    found.field(whole, "evidence", evidence, &second.evidence);
    found.totals(totals, &second.totals);
    let of_row = |row: &Row| Subject::Device(row.device);
    for (first, second) in found.rows((rows, &second.rows), of_row, money) {
        found.device(first, second);
    }
    let of_device = |state: &DeviceState| Subject::Device(state.device);
    let lost = |state: &DeviceState| format!("{} tokens slashed", state.slashed);
    for (first, second) in found.rows((devices, &second.devices), of_device, lost) {
        found.memory(first, second);
    }
    let of_rail = |state: &RailState| Subject::Rail(state.rail);
    let paid = |state: &RailState| format!("{} by rate", state.by_rate);
    for (first, second) in found.rows((rails, &second.rails), of_rail, paid) {
        found.rail(first, second);
    }
    let of_account = |state: &AccountState| Subject::Account(state.account);
    let earned = |state: &AccountState| format!("{} earned", dollars(&state.earned));
    for (first, second) in found.rows((accounts, &second.accounts), of_account, earned) {
        found.account(first, second);
    }
    let of_author = |row: &AuthorRow| Subject::Author(row.author);
    let faults = |row: &AuthorRow| format!("{} envelopes at fault", row.envelopes);
    for (first, second) in found.rows((authors, &second.authors), of_author, faults) {
        found.author(first, second);
    }
    if found.count == 0 && first != second {
        let (first, second) = ("one".to_owned(), "another".to_owned());
        found.add(whole, "order of rows", Some(first), Some(second));
    }
    found
}

impl Differences {
    fn add(
        &mut self,
        subject: Subject,
        field: &'static str,
        first: Option<String>,
        second: Option<String>,
    ) {
        self.count = self.count.saturating_add(1);
        if self.kept.len() < DIFFERENCES_MAX {
            self.kept.push(Difference { subject, field, first, second });
        }
    }

    fn field<T: PartialEq + Display>(
        &mut self,
        subject: Subject,
        field: &'static str,
        first: &T,
        second: &T,
    ) {
        if first != second {
            self.add(subject, field, Some(first.to_string()), Some(second.to_string()));
        }
    }

    /// The rows that both have and that differ; those that one of them lacks are noted by what `show` says.
    fn rows<'a, T: PartialEq>(
        &mut self,
        (first, second): (&'a [T], &'a [T]),
        subject: impl Fn(&T) -> Subject,
        show: impl Fn(&T) -> String,
    ) -> Vec<(&'a T, &'a T)> {
        let by_id = |rows: &'a [T]| -> BTreeMap<_, _> {
            rows.iter().map(|row| (subject(row), row)).collect()
        };
        let (first, second) = (by_id(first), by_id(second));
        let ids: BTreeSet<_> = first.keys().chain(second.keys()).copied().collect();
        let mut both = Vec::new();
        for id in ids {
            match (first.get(&id), second.get(&id)) {
                (Some(first), Some(second)) if first == second => {}
                (Some(first), Some(second)) => both.push((*first, *second)),
                (first, second) => {
                    let show = |row: Option<&&T>| row.map(|row| show(row));
                    self.add(id, "row", show(first), show(second));
                }
            }
        }
        both
    }

    fn totals(&mut self, first: &Totals, second: &Totals) {
        let Totals { spent, earned, to_burn, vested, topped_up, bootstrapped, slashed } = first;
        let whole = Subject::Statement;
        self.field(whole, "spent", spent, &second.spent);
        self.field(whole, "earned", &dollars(earned), &dollars(&second.earned));
        self.field(whole, "to burn", to_burn, &second.to_burn);
        self.field(whole, "vested", vested, &second.vested);
        self.field(whole, "topped up", topped_up, &second.topped_up);
        self.field(whole, "paid for presence", bootstrapped, &second.bootstrapped);
        self.field(whole, "slashed", slashed, &second.slashed);
    }

    fn device(&mut self, first: &Row, second: &Row) {
        let Row { device, owner, kind, units, quality, uniqueness, duties_due, duties_met, .. } =
            first;
        let Row { paid, earned, top_up, bootstrap, slashed, causes, .. } = first;
        let subject = Subject::Device(*device);
        self.field(subject, "owner", owner, &second.owner);
        self.field(subject, "kind", kind, &second.kind);
        self.field(subject, "units", units, &second.units);
        self.field(subject, "quality", quality, &second.quality);
        self.field(subject, "uniqueness", uniqueness, &second.uniqueness);
        self.field(subject, "duties due", duties_due, &second.duties_due);
        self.field(subject, "duties met", duties_met, &second.duties_met);
        self.field(subject, "paid", paid, &second.paid);
        self.field(subject, "earned", earned, &second.earned);
        self.field(subject, "topped up", top_up, &second.top_up);
        self.field(subject, "paid for presence", bootstrap, &second.bootstrap);
        self.field(subject, "slashed", slashed, &second.slashed);
        self.field(subject, "causes", &reasons(causes), &reasons(&second.causes));
    }

    fn memory(&mut self, first: &DeviceState, second: &DeviceState) {
        let DeviceState { device, slashed, absent, served } = first;
        let subject = Subject::Device(*device);
        self.field(subject, "slashed so far", slashed, &second.slashed);
        self.field(subject, "epochs absent", absent, &second.absent);
        self.field(subject, "ever served", served, &second.served);
    }

    fn rail(&mut self, first: &RailState, second: &RailState) {
        let RailState { rail, by_rate, by_voucher, nonce } = first;
        let subject = Subject::Rail(*rail);
        self.field(subject, "paid by rate", by_rate, &second.by_rate);
        self.field(subject, "paid by voucher", by_voucher, &second.by_voucher);
        self.field(subject, "voucher", nonce, &second.nonce);
    }

    fn account(&mut self, first: &AccountState, second: &AccountState) {
        let AccountState { account, settled, tranches, earned, spent, slashed } = first;
        let subject = Subject::Account(*account);
        self.field(subject, "tokens vested", settled, &second.settled);
        self.field(subject, "tokens vesting", &vesting(tranches), &vesting(&second.tranches));
        self.field(subject, "earned", &dollars(earned), &dollars(&second.earned));
        self.field(subject, "spent", spent, &second.spent);
        self.field(subject, "slashed", slashed, &second.slashed);
    }

    fn author(&mut self, first: &AuthorRow, second: &AuthorRow) {
        let AuthorRow { author, envelopes, bytes, causes } = first;
        let subject = Subject::Author(*author);
        self.field(subject, "envelopes at fault", envelopes, &second.envelopes);
        self.field(subject, "bytes at fault", bytes, &second.bytes);
        self.field(subject, "causes", &reasons(causes), &reasons(&second.causes));
    }
}

/// A device's row in a few words.
fn money(row: &Row) -> String {
    let Row { paid, earned, causes, .. } = row;
    format!("{paid} paid, {earned} earned: {}", reasons(causes))
}

/// Dollars of all classes; those that are seldom are named.
fn dollars(dollars: &Dollars) -> String {
    let Dollars { cash, card, credit } = dollars;
    let named = |name, amount: &Micros| match amount {
        Micros(0) => String::new(),
        amount => format!(" and {amount} {name}"),
    };
    format!("{cash}{}{}", named("card", card), named("credit", credit))
}

/// Tranches with all that tells two of them apart.
fn vesting(tranches: &[Tranche]) -> String {
    let one = |Tranche { from, epochs, amount }: &Tranche| -> String {
        format!("{amount} from epoch {from} over {epochs}")
    };
    match tranches {
        [] => Tokens::ZERO.to_string(),
        tranches => tranches.iter().map(one).collect::<Vec<_>>().join(", "),
    }
}

/// Causes with what they are about and their evidence.
fn reasons(causes: &[Cause]) -> String {
    let one = |Cause { reason, rail, duty, evidence }: &Cause| {
        let mut text = reason.code().to_owned();
        for (name, of) in
            [("rail", rail.map(|rail| rail.0)), ("duty", duty.as_ref().map(|duty| (*duty).into()))]
        {
            if let Some(of) = of {
                text.push_str(&format!(" {name} {of}"));
            }
        }
        for digest in evidence {
            text.push_str(&format!(" {digest}"));
        }
        text
    };
    causes.iter().map(one).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
