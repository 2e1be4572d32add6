//! What it costs to bring a block to all validators: whole, as the ledger sends it, or cut by erasure code.
//!
//! commonware has both (`marshal::standard`, `marshal::coding`). Each runs here as it is, with its consensus
//! (simplex), its marshal and blocks of a given size and no content, over commonware's simulated network and
//! the clock of its deterministic runtime: links of 50 ms, and an uplink a validator that all it sends shares.
//! So times are those of the network alone; what a processor adds is measured beside them ([`code`]).

mod block;
mod code;
mod meter;
mod validator;

use crate::report::progress;
use block::{Coded, Whole};
use commonware_cryptography::{Signer as _, ed25519};
use commonware_p2p::simulated;
use commonware_runtime::{Runner as _, Supervisor as _, deterministic};
use commonware_utils::{NZUsize, ordered::Set, probability};
use meter::{Meter, Seen};
use std::{
    num::{NonZeroU16, NonZeroUsize},
    time::Duration,
};
use validator::{Place, Start};

/// Seats of the committees that are measured.
const SEATS: [u16; 3] = [4, 7, 20];
/// Bytes of the blocks: a quiet one, a busy one, and one with all the blobs that fit and as much again as the
/// busy one.
const BYTES: [usize; 3] = [64 << 10, 512 << 10, 2560 << 10];
/// Uplinks, in bytes a second: 100 Mbit and 1 Gbit.
const UPLINKS: [usize; 2] = [12_500_000, 125_000_000];
/// From one validator to another.
const LATENCY: Duration = Duration::from_millis(50);
/// Blocks of a run that count; those before them warm it up.
const BLOCKS: u64 = 6;
/// Blocks that do not count.
const WARM: u64 = 2;

/// What the table shows.
const MEANING: &str = "\
Simulated (`bench --blocks`): commonware's own consensus and marshal over links of 50 ms, with an uplink a
validator that all it sends shares. In each pair the first figure is of blocks sent whole (`marshal::standard`,
which the ledger uses), the second of blocks cut into pieces by erasure code (`marshal::coding`). Times are the
network's, from the proposal until a quorum has the final block; the processor's part of a coded block comes on
top, one core.
";

/// What follows from it.
const DECISION: &str = "\
**Why blocks travel whole.** With four validators a coded block is final as late as a whole one: any two pieces
make the block, each half its size, and they travel two ways, from the proposer to everybody and from everybody
to all. The proposer sends half as much and all together twice as much. With seven it pays where uplinks are
slow and blocks full, with twenty clearly. Against that stand four things. *It has no form for fewer than four*:
commonware ends the process there, and committees follow the stake, down to one validator. *It is another
ledger*: votes sign 100 bytes instead of 32, and with them change the header, double votes as evidence, the
light client's certificates and those by which nodes join. *A vote says less*: who votes for a coded block holds
one piece of it, in memory, so a notarized block is lost if enough of them lose power; now any honest voter can
give it to the others. *There is more to be had for less*: of a full block 2,048 KiB are evidence blobs, which
their authors sent to everybody before the proposal and the proposer sends once more. A proposal that names them
by hash
is a block of some 512 KiB: final in 299 instead of 802 ms with four validators, 424 instead of 1,431 with
seven, 971 instead of 4,159 with twenty (at 100 Mbit/s), where coding the whole gives 805, 1,014 and 1,315. That
changes nothing but what stands between marshal and the wire (its `Buffer`): what is missing is asked of the
proposer. It is the next step if uplinks turn out to be what binds, and coding the one after it.
";

/// The page of all sizes, in Markdown.
pub(crate) fn page() -> anyhow::Result<String> {
    let mut lines = vec![
        "| validators | block | proposer sends | each other sends | final, 100 Mbit/s | final, 1 Gbit/s \
         | a coded block's processor time |"
            .to_owned(),
        "|---|---|---|---|---|---|---|".to_owned(),
    ];
    for seats in SEATS {
        for bytes in BYTES {
            let row = row(seats, bytes)?;
            progress(&row);
            lines.push(row);
        }
    }
    Ok(format!("## Blocks, whole and coded\n\n{MEANING}\n{}\n\n{DECISION}", lines.join("\n")))
}

fn row(seats: u16, bytes: usize) -> anyhow::Result<String> {
    let [slow, fast] = UPLINKS;
    let whole = [run::<Whole>(seats, bytes, slow)?, run::<Whole>(seats, bytes, fast)?];
    let coded = [run::<Coded>(seats, bytes, slow)?, run::<Coded>(seats, bytes, fast)?];
    let cost = code::measure(seats, bytes)?;
    let size = |bytes: f64| format!("{:.0} KiB", bytes / 1024.0);
    Ok(format!(
        "| {seats} | {} KiB | {} / {} | {} / {} | {:.0} / {:.0} ms | {:.0} / {:.0} ms | {:.1} ms to cut, \
         {:.1} ms to join |",
        bytes >> 10,
        size(whole[0].proposer),
        size(coded[0].proposer),
        size(whole[0].other),
        size(coded[0].other),
        whole[0].milliseconds,
        coded[0].milliseconds,
        whole[1].milliseconds,
        coded[1].milliseconds,
        cost.cut,
        cost.join,
    ))
}

/// Runs a committee of `seats` with blocks of `bytes` and an `uplink` each.
fn run<S: Start>(seats: u16, bytes: usize, uplink: usize) -> anyhow::Result<Seen> {
    let config = deterministic::Config::new().with_seed(1);
    deterministic::Runner::new(config).start(|context| async move {
        let keys: Vec<_> = (0..u64::from(seats)).map(ed25519::PrivateKey::from_seed).collect();
        let peers = Set::from_iter_dedup(keys.iter().map(|key| key.public_key()));
        let network = simulated::Config {
            max_size: 16 << 20,
            max_peers_per_set: NonZeroUsize::from(NonZeroU16::try_from(seats)?),
            disconnect_on_block: true,
            tracked_peer_sets: NZUsize!(1),
        };
        let (network, oracle) =
            simulated::Network::new_with_peers(context.child("network"), network, peers.clone())
                .await;
        network.start();
        let link = || simulated::Link {
            latency: LATENCY,
            jitter: Duration::ZERO,
            success_rate: probability!(1.0),
        };
        for from in &peers {
            oracle.limit_bandwidth(from.clone(), Some(uplink), None).await?;
            for to in peers.iter().filter(|to| *to != from) {
                oracle.add_link(from.clone(), to.clone(), link()).await?;
            }
        }
        let meter = Meter::new(seats);
        for key in keys {
            let context = context.child("validator").with_attribute("key", key.public_key());
            let peers = peers.clone();
            let place = Place { context, key, peers, oracle: oracle.clone(), meter: meter.clone() };
            S::start(place, bytes).await?;
        }
        meter.wait(&context, WARM + BLOCKS).await;
        Ok(meter.seen(WARM))
    })
}
