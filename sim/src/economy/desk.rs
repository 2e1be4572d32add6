//! A validator's desk: the worker of a machine, without its shells.
//!
//! What runs is [`validator::work`]: intake with its journal, follower, archive, settling with its votes,
//! accusing. It asks the ledger of its machine through the methods of JSON-RPC without HTTP, and other
//! desks' files through their routes without HTTP. Its journal is a real folder that outlives a crash; its
//! archive lies on the machine's disk ([`crate::faults::shelf`]); what is under way is lost.

use super::neighbour::{self, Neighbour};
use crate::{
    adversaries::{Kind, Plot, censor::Outcasts},
    checkers::Broken,
    faults::shelf::{Objects, Shelf},
    world::{clockwork, machine::Life, machine::Machine, people},
};
use alloy_primitives::keccak256;
use commonware_runtime::Spawner as _;
use consensus::Ledger;
use contracts::abi::Outcome;
use evidence::{
    Acceptance, Archive,
    wire::{Answer, Submit},
};
use protocol::{Digest, Epoch, Height, clock::Clock};
use rand::rngs::StdRng;
use settlement::Settled;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tempfile::TempDir;
use validator::{
    Parts, Work,
    files::Files,
    http::Api,
    intake::Intake,
    others::{Others, Source},
    settle::{Voice, outcome},
    work,
};

/// The first epoch that a wrong judge judges wrongly.
const MISTAKEN: Epoch = Epoch(1);

/// What stands at a desk, for its neighbours as well.
#[derive(Debug, Default)]
pub struct Post(Mutex<Stage>);

#[derive(Debug, Default)]
enum Stage {
    #[default]
    Off,
    On(Arc<OnDuty>),
    Failed(String),
}

/// A worker that runs.
#[derive(Debug)]
struct OnDuty {
    work: Work,
    intake: Arc<Intake>,
    api: Api,
    life: Arc<Life>,
}

impl Post {
    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn on_duty(&self) -> Option<Arc<OnDuty>> {
        match &*self.stage() {
            Stage::On(there) => Some(Arc::clone(there)),
            Stage::Off | Stage::Failed(_) => None,
        }
    }

    /// What it answers others with, while somebody is there.
    pub fn api(&self) -> Option<Api> {
        self.on_duty().map(|there| there.api.clone())
    }
}

/// A desk, across crashes of its machine.
#[derive(Debug)]
pub struct Desk {
    machine: usize,
    folder: TempDir,
    objects: Arc<Objects>,
    post: Arc<Post>,
    voice: Voice,
    /// Whether its worker votes.
    votes: bool,
    /// Whose evidence it accepts and drops, if it is a censor's.
    outcasts: Option<Arc<Outcasts>>,
}

/// An outcome with a root that nobody's replay gives, and all else as it is.
pub(super) fn lie(truth: Outcome) -> Outcome {
    Outcome { root: keccak256(truth.root), ..truth }
}

/// Votes for a root that nobody's replay gives.
fn falsehood(settled: &Settled) -> Outcome {
    lie(outcome(settled))
}

/// Is right about the network's first epochs and wrong about all others.
fn mistake(settled: &Settled) -> Outcome {
    if settled.statement.epoch < MISTAKEN { outcome(settled) } else { falsehood(settled) }
}

impl Desk {
    /// An empty desk on a machine, in a world whose liars have a plot.
    ///
    /// # Errors
    /// No folder can be made.
    pub fn new(machine: usize, kind: Option<Kind>, plot: &Plot) -> Result<Self, Broken> {
        Ok(Self {
            machine,
            folder: tempfile::tempdir().map_err(Broken::new)?,
            objects: Arc::default(),
            post: Arc::default(),
            voice: match kind {
                Some(Kind::FalseVoter) => falsehood,
                Some(Kind::FaultyJudge) => mistake,
                _ => outcome,
            },
            votes: kind != Some(Kind::Copier),
            outcasts: (kind == Some(Kind::Censor)).then(|| Arc::clone(&plot.outcasts)),
        })
    }

    /// From its next start on its judge is right.
    pub fn mend(&mut self) {
        self.voice = outcome;
    }

    /// Whether its worker refuses what the ledger decided for an epoch.
    pub fn refuses(&self, epoch: Epoch) -> bool {
        let refused = self.post.on_duty().map(|there| there.work.refusals.all());
        refused.into_iter().flatten().any(|refusal| refusal.epoch == epoch)
    }

    /// What stands here, for neighbours.
    pub fn post(&self) -> Arc<Post> {
        Arc::clone(&self.post)
    }

    /// Its archive, as it lies on the disk.
    pub fn archive(&self) -> Archive {
        self.objects.archive()
    }

    /// Starts the worker below `machine`: it goes on where it stopped.
    ///
    /// # Errors
    /// The system refuses.
    pub fn boot(
        &self,
        machine: Machine,
        ledger: Ledger,
        posts: &[Arc<Post>],
    ) -> Result<(), Broken> {
        let runtime = clockwork::runtime().map_err(Broken::new)?;
        let life = Arc::clone(machine.life());
        let others = posts.iter().enumerate().filter(|(them, _)| *them != self.machine);
        let others = others.map(|(them, post)| {
            let (wire, post) = (Arc::clone(&life.wire), Arc::downgrade(post));
            let source = Neighbour { me: self.machine, them, wire, post };
            (format!("machine {them}"), Box::new(source) as Box<dyn Source>)
        });
        let others = Arc::new(Others::from_sources(others));
        let (post, voice) = (Arc::clone(&self.post), self.voice);
        let shelf = Shelf::new(Arc::clone(&self.objects), Arc::clone(&life));
        let (n, folder) = (self.machine, self.folder.path().to_owned());
        let signer = if self.votes { people::owner(n) } else { people::onlooker(n) };
        runtime.spawn(async move {
            let started = async {
                let client = neighbour::own(ledger.clone()).await?;
                let archive = Archive::new(Arc::new(shelf));
                let files = Files { client, archive, others };
                let keys = people::author(n).zip(signer);
                let (author, signer) = keys.ok_or("a machine without keys")?;
                let key = author.key().x();
                let clock: Arc<dyn Clock> = life.clone();
                let (api_ledger, archive_files) = (ledger.clone(), files.clone());
                // Every archive keeps all, so that each epoch can be settled again in the end.
                let kept = None;
                let parts = Parts { ledger, files, folder, author, signer, voice, kept };
                let (work, intake) = work(parts).await?;
                let recorded = work.recorded.clone();
                let api = Api::new(intake.clone(), archive_files, clock, key, recorded)
                    .serving(api_ledger);
                Ok::<_, Box<dyn std::error::Error + Send + Sync>>(OnDuty {
                    work,
                    intake,
                    api,
                    life,
                })
            };
            *post.stage() = match started.await {
                Ok(there) => Stage::On(Arc::new(there)),
                Err(error) => Stage::Failed(error.to_string()),
            };
        });
        drop(machine.spawn(|machine| clockwork::drive(machine, runtime)));
        Ok(())
    }

    /// Nobody is there any more.
    pub fn kill(&self) {
        *self.post.stage() = Stage::Off;
    }

    /// What a crash makes of the archive, once all that ran has ended.
    ///
    /// # Errors
    /// Never.
    pub async fn crash(&self, rng: &mut StdRng) -> Result<(), Broken> {
        self.objects.crash(rng).await.map_err(Broken::new)
    }

    /// Why its worker ended by itself, if it did.
    pub fn cause(&self) -> Option<String> {
        match &*self.post.stage() {
            Stage::Failed(error) => Some(format!("the worker does not start: {error}")),
            Stage::On(there) if there.work.tasks.iter().any(|task| task.is_finished()) => {
                Some("a task of the worker ended".to_owned())
            }
            Stage::On(_) | Stage::Off => None,
        }
    }

    /// The last block it has recorded, while it runs.
    pub fn head(&self) -> Option<Height> {
        self.post.on_duty().map(|there| *there.work.recorded.borrow())
    }

    /// Takes an envelope; nothing if nobody is there.
    pub fn submit(&self, envelope: &[u8]) -> Option<Answer> {
        let there = self.post.on_duty()?;
        if let Some(answer) = self.discard(envelope, *there.work.recorded.borrow()) {
            return Some(answer);
        }
        let submit = Submit::new([envelope.to_vec()]);
        there.intake.submit(&submit, there.life.now_ms()).into_iter().next()
    }

    /// What a censor's desk says of an envelope that nobody will see again: it signs for it as if it were taken.
    fn discard(&self, envelope: &[u8], head: Height) -> Option<Answer> {
        let envelope = self.outcasts.as_ref()?.discard(envelope)?;
        let (author, payload) = (people::author(self.machine)?, envelope.payload());
        let named = (payload.network, payload.epoch);
        let signed = Acceptance::sign(&author, people::CHAIN, envelope.digest(), named, head);
        Some(Answer::Accepted(signed))
    }

    /// Whether a block carries an envelope; nothing if nobody is there.
    pub fn carried(&self, digest: Digest) -> Option<Option<Height>> {
        self.post.on_duty().map(|there| there.intake.carried(digest))
    }
}
