//! Validators that lie, by name.
//!
//! A liar runs the program as it is. Between it and the network stands somebody who holds its key, reads
//! all that it says and hears ([`proxy`]), and drops, changes or adds messages, signing what is changed
//! with that key. So a liar knows all that an honest validator knows, and what it sends is well-formed to
//! the last byte unless it is meant not to be.
//!
//! Up to f of n >= 3f + 1 seats may lie; the checkers then demand what they demand of a world without liars.

pub mod censor;
pub mod equivocator;
pub mod forger;
pub mod held;
pub mod message;
pub mod mute;
pub mod proxy;
pub mod silent;
pub mod withholder;
pub mod witness;

use self::{
    censor::Outcasts,
    equivocator::Faces,
    message::{Message, Signature},
};
use std::sync::Arc;

/// What becomes of the messages of a liar. Machines are named by their numbers.
pub trait Conduct: std::fmt::Debug + Send + Sync {
    /// What is really sent to a machine for a message that the program sends.
    fn outbound(&self, to: usize, message: Message) -> Vec<Message>;

    /// What the program really hears for a message from a machine.
    fn inbound(&self, from: usize, message: Message) -> Vec<Message> {
        let _ = from;
        vec![message]
    }
}

/// What the liars of one world agreed on.
#[derive(Clone, Debug, Default)]
pub struct Plot {
    /// Whom censors censor.
    pub outcasts: Arc<Outcasts>,
    /// What equivocators vote for.
    pub faces: Arc<Faces>,
}

/// The ways of lying.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Passes on everything; sees how others vote.
    Witness,
    /// Proposes two blocks and votes for both.
    Equivocator,
    /// The same, and nobody is shown both.
    TwoFaced,
    /// Says nothing at all.
    Mute,
    /// Proposes nothing when it leads.
    Silent,
    /// Proposes a block and shows its body to few or nobody.
    Withholder,
    /// Proposes blocks that are invalid.
    Forger,
    /// Keeps one sender's transactions and one device's evidence out, and votes for no block that holds some.
    Censor,
    /// Fills blocks with junk: as a validator it may, so its program is left alone and fed with blobs.
    JunkAuthor,
    /// Votes for a settlement that its own replay does not give.
    FalseVoter,
    /// Does the same by mistake, until its judge is mended; honest in all else.
    FaultyJudge,
    /// Copies the votes of others.
    Copier,
}

impl Kind {
    /// All that lie.
    pub const LIARS: [Self; 7] = [
        Self::Equivocator,
        Self::Mute,
        Self::Silent,
        Self::Withholder,
        Self::Forger,
        Self::Censor,
        Self::JunkAuthor,
    ];

    /// Whether its own view of the ledger may be wrong, since it lies.
    pub const fn lies(self) -> bool {
        !matches!(self, Self::Witness | Self::FaultyJudge)
    }

    /// Whether it votes twice, which others may accuse it of.
    pub const fn votes_twice(self) -> bool {
        matches!(self, Self::Equivocator | Self::TwoFaced)
    }

    /// Its name on the command line and in traces.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Witness => "witness",
            Self::Equivocator => "equivocator",
            Self::TwoFaced => "two-faced",
            Self::Mute => "mute",
            Self::Silent => "silent",
            Self::Withholder => "withholder",
            Self::Forger => "forger",
            Self::Censor => "censor",
            Self::JunkAuthor => "junk-author",
            Self::FalseVoter => "false-voter",
            Self::FaultyJudge => "faulty-judge",
            Self::Copier => "copier",
        }
    }

    /// Its conduct, if somebody stands between it and the network.
    pub fn conduct(self, signature: Signature, plot: &Plot) -> Option<Arc<dyn Conduct>> {
        Some(match self {
            Self::Witness => Arc::new(witness::Witness),
            Self::Equivocator | Self::TwoFaced => {
                let careful = self == Self::TwoFaced;
                let faces = Arc::clone(&plot.faces);
                Arc::new(equivocator::Equivocator::new(signature, faces, careful))
            }
            Self::Mute => Arc::new(mute::Mute),
            Self::Silent => Arc::new(silent::Silent::new(signature)),
            Self::Withholder => Arc::new(withholder::Withholder::new(signature)),
            Self::Forger => Arc::new(forger::Forger::new(signature)),
            Self::Censor => Arc::new(censor::Censor::new(Arc::clone(&plot.outcasts))),
            Self::JunkAuthor | Self::FalseVoter | Self::FaultyJudge | Self::Copier => return None,
        })
    }
}
