//! Who stands between a liar's program and the network.
//!
//! Towards the network it is the liar, whose key it holds; towards the program it is every peer, whose keys
//! the simulator has as well. It ends both encrypted connections and passes frames through the liar's
//! [`super::Conduct`]. The court hears every vote that passes, honest ones too.

use super::{Conduct, message::Message};
use crate::{
    checkers::court::Court,
    faults::wire::{LineSink, LineStream},
    world::machine::Machine,
};
use bytes::Bytes;
use commonware_cryptography::{ChaCha20Poly1305, Signer as _, ed25519};
use commonware_runtime::Supervisor as _;
use commonware_stream::{
    Receiver, SakeCups, Sender, Upgrader as _,
    cups::{self, Cups},
    sake::{self, Sake},
};
use std::{future::Future, net::SocketAddr, pin::Pin, sync::Arc, time::Duration};

/// The longest frame passed on. Longer than any honest one, so that a liar may send one too long.
const FRAME_BYTES: u32 = 32 * 1024 * 1024;

type Shake = SakeCups<ed25519::PrivateKey, ChaCha20Poly1305>;
type End = (LineSink, LineStream);
type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A liar's second voice.
#[derive(Debug)]
pub struct Interposed {
    /// Which machine lies.
    pub me: usize,
    /// The network keys of all machines.
    pub keys: Vec<ed25519::PrivateKey>,
    /// Where they listen.
    pub addresses: Vec<SocketAddr>,
    /// What separates this ledger's connections from others'.
    pub namespace: Vec<u8>,
    /// What becomes of messages.
    pub conduct: Arc<dyn Conduct>,
    /// Who hears the votes.
    pub court: Arc<Court>,
}

impl Interposed {
    fn shake(&self, machine: usize) -> Option<Shake> {
        let signer = self.keys.get(machine)?.clone();
        Some(Cups::new(
            Sake {
                signer,
                synchrony_bound: Duration::from_secs(5),
                max_handshake_age: Duration::from_secs(10),
                version: sake::Version::V1,
            },
            cups::Version::V1,
        ))
    }

    fn namespace(&self) -> Vec<u8> {
        [self.namespace.as_slice(), b"_STREAM"].concat()
    }

    fn key(&self, machine: usize) -> Option<ed25519::PublicKey> {
        self.keys.get(machine).map(ed25519::PrivateKey::public_key)
    }

    fn pass(&self, out: bool, peer: usize, frame: Bytes) -> Vec<Bytes> {
        let message = Message::read(frame);
        if let (false, Message::Vote(vote)) = (out, &message) {
            self.court.hear(vote);
        }
        let passed = if out {
            self.conduct.outbound(peer, message)
        } else {
            self.conduct.inbound(peer, message)
        };
        let hear = |message: Message| {
            if let (true, Message::Vote(vote)) = (out, &message) {
                self.court.hear(vote);
            }
            message.write()
        };
        passed.into_iter().map(hear).collect()
    }
}

/// Stands in on a connection that the program makes to an address.
pub fn call(
    this: Arc<Interposed>,
    to: SocketAddr,
    outer: End,
    inner: End,
) -> impl FnOnce(Machine) -> Task + Send + 'static {
    move |machine| {
        Box::pin(async move {
            let Some(peer) = this.addresses.iter().position(|address| *address == to) else {
                return;
            };
            let (Some(mine), Some(theirs)) = (this.shake(this.me), this.shake(peer)) else {
                return;
            };
            let Some(key) = this.key(peer) else { return };
            let namespace = this.namespace();
            let outside =
                mine.dial(machine.child("outside"), &namespace, FRAME_BYTES, key, outer.1, outer.0);
            let inside = theirs.listen(
                machine.child("inside"),
                &namespace,
                FRAME_BYTES,
                async |_| true,
                inner.1,
                inner.0,
            );
            let (outside, inside) = futures::join!(outside, inside);
            if let (Ok(outside), Ok((_, sender, receiver))) = (outside, inside) {
                relay(&this, peer, outside, (sender, receiver)).await;
            }
        })
    }
}

/// Stands in on a connection that somebody makes to the program.
pub fn answer(
    this: Arc<Interposed>,
    outer: End,
    inner: End,
) -> impl FnOnce(Machine) -> Task + Send + 'static {
    move |machine| {
        Box::pin(async move {
            let Some(mine) = this.shake(this.me) else { return };
            let namespace = this.namespace();
            let outside = mine.listen(
                machine.child("outside"),
                &namespace,
                FRAME_BYTES,
                async |_| true,
                outer.1,
                outer.0,
            );
            let Ok((key, sender, receiver)) = outside.await else { return };
            let Some(peer) = this.keys.iter().position(|other| other.public_key() == key) else {
                return;
            };
            let (Some(theirs), Some(me)) = (this.shake(peer), this.key(this.me)) else { return };
            let inside =
                theirs.dial(machine.child("inside"), &namespace, FRAME_BYTES, me, inner.1, inner.0);
            if let Ok(inside) = inside.await {
                relay(&this, peer, (sender, receiver), inside).await;
            }
        })
    }
}

/// Passes frames both ways until one side ends.
async fn relay<S: Sender, R: Receiver, T: Sender, Q: Receiver>(
    this: &Interposed,
    peer: usize,
    outside: (S, R),
    inside: (T, Q),
) {
    let ((mut to_peer, mut from_peer), (mut to_program, mut from_program)) = (outside, inside);
    let out = async {
        while let Ok(frame) = from_program.recv().await {
            for frame in this.pass(true, peer, frame.coalesce().into()) {
                if to_peer.send(frame).await.is_err() {
                    return;
                }
            }
        }
    };
    let heard = async {
        while let Ok(frame) = from_peer.recv().await {
            for frame in this.pass(false, peer, frame.coalesce().into()) {
                if to_program.send(frame).await.is_err() {
                    return;
                }
            }
        }
    };
    tokio::select! {
        biased;
        () = out => {}
        () = heard => {}
    }
}
