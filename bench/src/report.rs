//! Figures, and the page that keeps them.

use std::{fmt::Write as _, fs, path::Path};

/// What keeps the figures from being higher, as profiles of the loads show (`bench --load`).
const LIMITS: &str = "\
## What limits them

**Transactions.** Measured on their own (`bench --ledger`), after the figures above. Anvil and ours get the same
signed transactions by the same client on the same number of kept connections, with up to 24,000 on their way,
and neither is bound by gas. Anvil makes a block a second and keeps its state in memory; ours syncs every block
before it says that it is final, and proves its state. With one validator the cores are the limit, so the time of
the processor for each transaction says more than the rate. A profile of an ERC-20 transfer, client left out, by
what computes: signature recovery somewhat under half (29 microseconds of libsecp256k1), the rest of JSON-RPC and the
pool an eighth, the history a sixth, proposing and the machine a seventh, consensus and the state's tree a twentieth. A signature is
recovered once and a block executed once, when it is proposed or, by other validators, when it is checked. A
sender's account is read from the state once and then followed through the blocks: to ask for it with every
transaction cost two changes of threads, a third of all time. Several validators share the two cores, and each
checks and executes everything.

**Gas of a block.** At the usual pace, a block each 500 ms, 30 million gas are 2,850 transfers of coins a second. More gas
in a block would be more cold slots: 14,000 fill one, and must be read, by validators on slow disks too, within the
750 ms that a leader has. Who wants more transactions shortens the pace instead (the bench's is 20 ms): that
leaves the worst block as it is.

**PUT of 4 KiB, one client.** One after the other: the request is checked, sealed and cut into six shards of
4 KiB; six agents each write and sync theirs; at five of them the index entry is written and synced. So two
syncs, one after the other, stand between request and answer, where s3s-fs has none. On one machine all seven
syncs go to one disk, and clients, service and six agents share the cores: most of the time goes into waking
threads and tasks, and into the kernel's work for six QUIC exchanges and seven syncs. An agent's part is one
write and one sync of a journal on blocks that the file has already; the index takes small shards over some
hundred at once. Index entry and shards are not synced side by side: an entry that is durable before its
shards would after a crash name an object that nobody holds, in the place of the one that it replaced.

**PUT of 4 KiB, many clients.** What waits together becomes one segment and one index transaction, so syncs
hardly count; the cores are the limit.

**PUT of 64 MiB.** The cores: MD5, which S3 wants as the etag and which no second core can help with (s3s-fs is
limited by it alone), then moving 96 MB instead of 64 (4 of 6), encrypted once for the content, once as masks
and once more by QUIC, hashed by BLAKE3 at both ends, in packets of 1,452 bytes, which is the most that the
QUIC library takes. The body is cut into four segments, so that sealing and sending go on while the rest comes.
Agents write large shards around the page cache and sync them.

**GET of 4 KiB.** A request to one agent over QUIC, one packet there and three back. With one client nothing
overlaps, and on two cores most of the time goes into waking threads: that of the client, two of the service and
the agents for each packet. So rows of the index and shards that are in memory are read by whoever is asked for
them, as long as such reads are quick; a slow disk is waited for aside. A voucher (secp256k1, signed by the
service and checked by the agent) pays for the next 256 KiB too. s3s-fs asks nobody.

**A million accounts.** The index of the state is in memory, some hundred bytes for an account; values, tree and
history are on disk. The log of a node that grew by a million transfers holds what was superseded as well, more than
twice what a fresh node has; a node that starts again reads it once, and why that takes as long as it does is not
looked into yet. A fresh node fetches the log from where it is still needed, eight parts of 2,048 entries at a time,
and hashes and proves all of it: that is most of its time. Anvil has its accounts in memory and reads and writes them
as one JSON file.

**Durability.** Nothing of this is traded away: an object is acknowledged when five of its six shards are
synced by their agents and its index entry is synced, so `kill -9` and a power cut lose nothing acknowledged.
";

/// One measured figure, with its rival's if there is one.
#[derive(Clone, Debug)]
pub(crate) struct Figure {
    /// What was measured.
    pub(crate) what: String,
    /// Ours.
    pub(crate) ours: f64,
    /// The rival's name and figure.
    pub(crate) rival: Option<(String, f64)>,
    /// The unit.
    pub(crate) unit: &'static str,
}

/// All figures of a run.
#[derive(Debug)]
pub(crate) struct Report {
    machine: String,
    sections: Vec<(String, Vec<Figure>)>,
    pages: Vec<String>,
}

/// The median of measurements; zero of none.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// Prints progress.
#[expect(clippy::print_stderr, reason = "a bench tells a person how far it is")]
pub(crate) fn progress(text: &str) {
    eprintln!("bench: {text}");
}

/// Prints a failure.
#[expect(clippy::print_stderr, reason = "the one place where the bench reports its failure")]
pub(crate) fn complain(error: &anyhow::Error) {
    eprintln!("error: {error:#}");
}

impl Report {
    /// A report of a machine.
    pub(crate) const fn new(machine: String) -> Self {
        Self { machine, sections: Vec::new(), pages: Vec::new() }
    }

    /// Adds a section.
    pub(crate) fn section(&mut self, name: &str, figures: Vec<Figure>) {
        for figure in &figures {
            progress(&row(figure));
        }
        self.sections.push((name.to_owned(), figures));
    }

    /// Adds what has a form of its own.
    pub(crate) fn page(&mut self, page: String) {
        self.pages.push(page);
    }

    /// Writes the page.
    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<()> {
        let mut page = String::from(
            "# Performance\n\nMade by `cargo xtask bench`; medians. Client, servers and rival share the machine and \
             its disk.\nWayleave encrypts, erasure-codes 4 of 6, masks, sends to 6 agents and syncs every \
             acknowledged byte to disk; s3s-fs\nwrites a file and syncs nothing. The ratio is ours to the \
             rival's.\n",
        );
        writeln!(page, "\nMachine: {}\n", self.machine)?;
        for (name, figures) in &self.sections {
            writeln!(
                page,
                "## {name}\n\n| what | Wayleave | rival | ratio | unit |\n|---|---|---|---|---|"
            )?;
            for figure in figures {
                writeln!(page, "{}", row(figure))?;
            }
            page.push('\n');
        }
        for part in &self.pages {
            writeln!(page, "{part}")?;
        }
        page.push_str(LIMITS);
        fs::write(path, page.trim_end().to_owned() + "\n")?;
        progress(&format!("wrote {}", path.display()));
        Ok(())
    }
}

fn row(figure: &Figure) -> String {
    let (rival, ratio) = figure.rival.as_ref().map_or_else(
        || ("-".to_owned(), "-".to_owned()),
        |(name, value)| (format!("{value:.1} ({name})"), format!("{:.2}", figure.ours / value)),
    );
    format!("| {} | {:.1} | {rival} | {ratio} | {} |", figure.what, figure.ours, figure.unit)
}
