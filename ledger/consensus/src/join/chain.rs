//! What of an answer is believed: only what certificates prove, term by term.
//!
//! A node that knows the committee of a term can check every certificate of that term. The last header
//! of the term names the next committee by its digest, so a [`Link`] (that header, its certificate, and
//! the seats behind the digest) proves the next term to whoever knows this one.

use super::wire::{Link, Tip};
use crate::{
    committee::{Committee, Validator},
    header::Header,
    rules::Chain,
};
use alloy_primitives::B256;
use commonware_consensus::{Epochable as _, simplex::scheme::ed25519::Scheme};
use commonware_cryptography::{Signer as _, ed25519};
use commonware_parallel::Sequential;
use rand::CryptoRng;
use std::{num::NonZeroU64, sync::Arc};

/// Why something is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Doubt {
    #[error("it is of a term whose committee is not known")]
    Term,
    #[error("its header is not that of its certificate, its height or its ledger")]
    Header,
    #[error("its certificate is not by the committee of its term")]
    Certificate,
    #[error("its seats are not those that its header names")]
    Seats,
}

/// The facts that every certificate of a ledger is checked with.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) namespace: Vec<u8>,
    pub(crate) chain_id: u64,
    pub(crate) term_length: NonZeroU64,
}

impl Facts {
    pub(crate) const fn new(namespace: Vec<u8>, chain: &Chain) -> Self {
        Self { namespace, chain_id: chain.chain_id, term_length: chain.term_length }
    }

    pub(crate) const fn term(&self, height: u64) -> u64 {
        height / self.term_length.get()
    }

    pub(crate) const fn last_height(&self, term: u64) -> u64 {
        term.saturating_add(1).saturating_mul(self.term_length.get()).saturating_sub(1)
    }
}

/// The latest term whose committee is proven, and the one before it.
#[derive(Clone, Debug)]
pub(crate) struct Proven {
    pub(crate) term: u64,
    pub(crate) committee: Arc<Committee>,
    before: Option<Arc<Committee>>,
}

impl Proven {
    /// Begins with a committee that is known by other means.
    pub(crate) const fn new(term: u64, committee: Arc<Committee>) -> Self {
        Self { term, committee, before: None }
    }

    /// Begins at a header that is trusted, with the seats that it names.
    ///
    /// # Errors
    /// They are others.
    pub(crate) fn from_header(
        facts: &Facts,
        header: &Header,
        seats: &[Validator],
    ) -> Result<Self, Doubt> {
        let committee = Committee::new(seats).map_err(|_| Doubt::Seats)?;
        let committee = named(header.committee, committee)?;
        Ok(Self::new(facts.term(header.height.saturating_add(1)), committee))
    }

    /// The committee of a term, if it is one of the two.
    pub(crate) fn committee(&self, term: u64) -> Option<&Arc<Committee>> {
        if term == self.term {
            return Some(&self.committee);
        }
        self.before.as_ref().filter(|_| term.checked_add(1) == Some(self.term))
    }

    /// Checks that a block is final.
    ///
    /// # Errors
    /// Why it is not known to be.
    pub(crate) fn check(
        &self,
        facts: &Facts,
        tip: &Tip,
        rng: &mut impl CryptoRng,
    ) -> Result<(), Doubt> {
        let (header, certificate) = (&tip.header, &tip.certificate);
        let term = certificate.epoch().get();
        let same = header.chain_id == facts.chain_id
            && header.term == term
            && facts.term(header.height) == term
            && header.sha256() == certificate.proposal.payload;
        if !same {
            return Err(Doubt::Header);
        }
        let seats = self.committee(term).ok_or(Doubt::Term)?.participants();
        let scheme = Scheme::verifier(&facts.namespace, seats);
        if certificate.verify(rng, &scheme, &Sequential) { Ok(()) } else { Err(Doubt::Certificate) }
    }

    /// Goes on by one term.
    ///
    /// # Errors
    /// The link does not prove it.
    pub(crate) fn follow(
        &mut self,
        facts: &Facts,
        link: &Link,
        rng: &mut impl CryptoRng,
    ) -> Result<(), Doubt> {
        let header = &link.last.header;
        if header.height != facts.last_height(self.term) {
            return Err(Doubt::Header);
        }
        self.check(facts, &link.last, rng)?;
        self.adopt(header, &link.seats)
    }

    /// Goes on by one term whose last header is known to be final.
    ///
    /// # Errors
    /// The seats are others than it names.
    pub(crate) fn adopt(&mut self, header: &Header, seats: &[Validator]) -> Result<(), Doubt> {
        let next = if header.committee == self.committee.digest() {
            Arc::clone(&self.committee)
        } else {
            let next = self.committee.successor(seats).map_err(|_| Doubt::Seats)?;
            named(header.committee, next)?
        };
        self.before = Some(std::mem::replace(&mut self.committee, next));
        self.term = self.term.saturating_add(1);
        Ok(())
    }

    /// Whether a key's vote is in a certificate of a known term.
    pub(crate) fn signed(&self, tip: &Tip, key: &ed25519::PrivateKey) -> bool {
        let Some(committee) = self.committee(tip.header.term) else { return false };
        let key = key.public_key();
        let seats = committee.participants();
        let at = seats.iter().position(|seat| *seat == key);
        tip.certificate.certificate.signers.iter().any(|signer| {
            at.is_some_and(|at| usize::try_from(signer.get()).is_ok_and(|signer| signer == at))
        })
    }
}

fn named(digest: B256, committee: Committee) -> Result<Arc<Committee>, Doubt> {
    if committee.digest() == digest { Ok(Arc::new(committee)) } else { Err(Doubt::Seats) }
}

#[cfg(test)]
mod tests;
