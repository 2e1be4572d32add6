//! What an agent must not forget: reserved sequence numbers, envelopes on their way, vouchers
//! presented. One redb file; every batch of [`Record`]s is one durable transaction.
//!
//! | table | key | value |
//! |---|---|---|
//! | `meta` | name | `format` = 1, `reserved` = end of the reserved sequence numbers |
//! | `owner` | 0 | canonical (network, device): a journal serves one of each |
//! | `outbox` | (epoch, sequence) | canonical [`Kept`] |
//! | `presented` | rail | micro-dollars last seen carried in a voucher of this rail |

use minicbor::{Decode, Encode};
use protocol::{DeviceId, Epoch, Height, Micros, NetworkId, RailId, cbor};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

const FORMAT: u64 = 1;
/// Memory that redb may use for pages, bytes.
const CACHE_BYTES: usize = 1 << 20;

const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const OWNER: TableDefinition<'_, u8, &[u8]> = TableDefinition::new("owner");
const OUTBOX: TableDefinition<'_, (u64, u64), &[u8]> = TableDefinition::new("outbox");
const PRESENTED: TableDefinition<'_, u64, u64> = TableDefinition::new("presented");

/// What an envelope is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub enum Purpose {
    /// Declares a loss before the window of this duty opens.
    #[n(0)]
    Loss(#[n(0)] RailId, #[n(1)] u16),
    /// Proves this duty.
    #[n(1)]
    Proof(#[n(0)] RailId, #[n(1)] u16),
    /// Says that the device is there.
    #[n(2)]
    Report,
    /// Presents vouchers up to these amounts.
    #[n(3)]
    Vouchers(#[n(0)] Vec<(RailId, Micros)>),
}

/// An envelope of the outbox as the journal keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Kept {
    /// The epoch it names.
    #[n(0)]
    pub epoch: Epoch,
    /// Its sequence number.
    #[n(1)]
    pub sequence: u64,
    /// What it is for.
    #[n(2)]
    pub purpose: Purpose,
    /// The head when it was made.
    #[n(3)]
    pub made_at: Height,
    /// The last height at which carrying it is of use.
    #[n(4)]
    pub until: Height,
    /// Its size in bytes, which counts against the quota.
    #[n(5)]
    pub size: u32,
    /// The envelope; empty once it needs no more sending.
    #[cbor(n(6), with = "minicbor::bytes")]
    pub bytes: Vec<u8>,
    /// The newest acceptance of a validator; empty while there is none.
    #[cbor(n(7), with = "minicbor::bytes")]
    pub acceptance: Vec<u8>,
}

/// One thing to keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// Sequence numbers below this may be in use.
    Reserve(u64),
    /// An envelope to send, or one that needs no more sending.
    Keep(Kept),
    /// A voucher of this rail up to this amount was carried.
    Presented(RailId, Micros),
    /// Epochs up to this one are closed.
    Forget(Epoch),
}

/// What a journal held when it was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Sequence numbers below this may have been used.
    pub reserved: u64,
    /// The outbox, by epoch and sequence.
    pub outbox: Vec<Kept>,
    /// What was presented, by rail.
    pub presented: BTreeMap<RailId, Micros>,
}

/// Why a journal cannot be opened or written.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file cannot be opened, for instance because another agent has it open.
    #[error("failed to open {path}: {source}")]
    Open {
        /// The file.
        path: PathBuf,
        /// What redb says.
        source: Box<redb::DatabaseError>,
    },
    /// The disk did not keep the file as it said it had. Without it, sequence numbers begin anew, and two
    /// envelopes with one number in one epoch cost stake.
    #[error(
        "the journal {path} is damaged ({why}): put it aside and start again in the next epoch, not before, \
         as sequence numbers of this one would be used twice"
    )]
    Broken {
        /// The file.
        path: PathBuf,
        /// What was found.
        why: String,
    },
    /// A read or write failed.
    #[error("journal failed: {0}")]
    Storage(Box<redb::Error>),
    /// The file is of another format.
    #[error("journal format {0} is not {FORMAT}; it was written by another version")]
    Format(u64),
    /// The file belongs to another device or network.
    #[error("the journal belongs to another device or network")]
    Owner,
    /// The thread that writes was stopped in the middle.
    #[error("writing the journal was interrupted")]
    Interrupted,
    /// A record does not decode.
    #[error("journal is damaged: {0}")]
    Damaged(#[from] cbor::DecodeError),
}

macro_rules! storage_errors {
    ($($error:ty),*) => {
        $(impl From<$error> for JournalError {
            fn from(error: $error) -> Self {
                Self::Storage(Box::new(error.into()))
            }
        })*
    };
}

storage_errors!(redb::TransactionError, redb::TableError, redb::StorageError, redb::CommitError);

/// The journal of one device in one network.
#[derive(Debug)]
pub struct Journal(Database);

impl Journal {
    /// Opens the journal at `path`, or makes one.
    ///
    /// # Errors
    /// When the file is taken, damaged, of another format, or of another device or network.
    pub fn open(
        path: &Path,
        network: NetworkId,
        device: DeviceId,
    ) -> Result<(Self, Recovered), JournalError> {
        let open = || {
            let made = Database::builder().set_cache_size(CACHE_BYTES).create(path);
            let failed =
                |source| JournalError::Open { path: path.into(), source: Box::new(source) };
            Self::with(made.map_err(failed)?, network, device)
        };
        // Of some damage redb panics; nothing of what panicked is used again.
        catch_unwind(AssertUnwindSafe(open)).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let why = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
            Err(JournalError::Broken { path: path.into(), why })
        })
    }

    /// Uses a database that is open already, such as one in memory.
    ///
    /// # Errors
    /// As [`Journal::open`].
    pub fn with(
        database: Database,
        network: NetworkId,
        device: DeviceId,
    ) -> Result<(Self, Recovered), JournalError> {
        let write = database.begin_write()?;
        {
            let mut meta = write.open_table(META)?;
            let found = meta.get("format")?.map(|format| format.value());
            match found {
                None => drop(meta.insert("format", FORMAT)?),
                Some(FORMAT) => {}
                Some(other) => return Err(JournalError::Format(other)),
            }
            let mut owner = write.open_table(OWNER)?;
            let ours = cbor::to_vec(&(network, device));
            let found = owner.get(0)?.map(|owner| owner.value().to_vec());
            match found {
                None => drop(owner.insert(0, ours.as_slice())?),
                Some(found) if found == ours => {}
                Some(_) => return Err(JournalError::Owner),
            }
            write.open_table(OUTBOX)?;
            write.open_table(PRESENTED)?;
        }
        write.commit()?;
        let journal = Self(database);
        let recovered = journal.recover()?;
        Ok((journal, recovered))
    }

    fn recover(&self) -> Result<Recovered, JournalError> {
        let read = self.0.begin_read()?;
        let reserved = read.open_table(META)?.get("reserved")?.map_or(0, |end| end.value());
        let mut recovered = Recovered { reserved, ..Recovered::default() };
        for entry in read.open_table(OUTBOX)?.iter()? {
            recovered.outbox.push(cbor::from_slice(entry?.1.value())?);
        }
        for entry in read.open_table(PRESENTED)?.iter()? {
            let (rail, amount) = entry?;
            recovered.presented.insert(RailId(rail.value()), Micros(amount.value()));
        }
        Ok(recovered)
    }

    /// Makes `records` durable, all or none.
    ///
    /// # Errors
    /// When the file cannot be written; nothing that depends on the records may happen then.
    pub fn write(&self, records: &[Record]) -> Result<(), JournalError> {
        let write = self.0.begin_write()?;
        {
            let mut meta = write.open_table(META)?;
            let mut outbox = write.open_table(OUTBOX)?;
            let mut presented = write.open_table(PRESENTED)?;
            for record in records {
                match record {
                    Record::Reserve(end) => drop(meta.insert("reserved", end)?),
                    Record::Keep(kept) => {
                        let key = (kept.epoch.0, kept.sequence);
                        outbox.insert(key, cbor::to_vec(kept).as_slice())?;
                    }
                    Record::Presented(rail, amount) => drop(presented.insert(rail.0, amount.0)?),
                    Record::Forget(epoch) => {
                        outbox.retain_in(..=(epoch.0, u64::MAX), |_, _| false)?;
                    }
                }
            }
        }
        Ok(write.commit()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(epoch: u64, sequence: u64) -> Kept {
        Kept {
            epoch: Epoch(epoch),
            sequence,
            purpose: Purpose::Proof(RailId(3), 2),
            made_at: Height(4),
            until: Height(9),
            size: 3,
            bytes: vec![1, 2, 3],
            acceptance: vec![4],
        }
    }

    #[test]
    fn what_was_written_is_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.redb");
        let (network, device) = (NetworkId(1), DeviceId([2; 32]));
        let (journal, empty) = Journal::open(&path, network, device).unwrap();
        assert_eq!(empty, Recovered::default());
        let report = Kept { purpose: Purpose::Report, ..kept(6, 11) };
        let vouchers = Purpose::Vouchers(vec![(RailId(1), Micros(5))]);
        journal
            .write(&[
                Record::Reserve(1_000),
                Record::Keep(kept(5, 10)),
                Record::Keep(report.clone()),
                Record::Keep(Kept { purpose: vouchers, ..kept(7, 12) }),
                Record::Presented(RailId(1), Micros(5)),
            ])
            .unwrap();
        let sent = Kept { purpose: Purpose::Report, bytes: Vec::new(), ..kept(7, 12) };
        journal.write(&[Record::Forget(Epoch(5)), Record::Keep(sent.clone())]).unwrap();
        drop(journal);

        let (_, found) = Journal::open(&path, network, device).unwrap();
        assert_eq!(found.reserved, 1_000);
        assert_eq!(found.outbox, [report, sent]);
        assert_eq!(found.presented, BTreeMap::from([(RailId(1), Micros(5))]));
    }

    #[test]
    fn a_journal_of_another_device_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.redb");
        drop(Journal::open(&path, NetworkId(1), DeviceId([2; 32])).unwrap());
        let other = Journal::open(&path, NetworkId(1), DeviceId([3; 32])).map(drop);
        assert!(matches!(other, Err(JournalError::Owner)), "{other:?}");
        let other = Journal::open(&path, NetworkId(2), DeviceId([2; 32])).map(drop);
        assert!(matches!(other, Err(JournalError::Owner)), "{other:?}");
    }

    #[test]
    fn a_damaged_journal_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.redb");
        let open = || Journal::open(&path, NetworkId(1), DeviceId([2; 32]));
        let (journal, _) = open().unwrap();
        let kept: Vec<Record> = (0..200).map(|n| Record::Keep(kept(5, n))).collect();
        journal.write(&kept).unwrap();
        drop(journal);
        let sound = std::fs::read(&path).unwrap();
        let (mut refused, page) = (0, 4096);
        for at in (0..sound.len()).step_by(page / 2) {
            for fill in [0, 0xff] {
                let mut bytes = sound.clone();
                let end = sound.len().min(at + page);
                bytes[at..end].fill(fill);
                std::fs::write(&path, &bytes).unwrap();
                let Err(error) = open() else { continue };
                refused += 1;
                let text = error.to_string();
                let named = text.contains("agent.redb");
                assert!(named || text.contains("damaged") || text.contains("failed"), "{text}");
            }
            std::fs::write(&path, &sound[..at]).unwrap();
            refused += usize::from(open().is_err());
        }
        assert!(refused > 0);
    }
}
