//! The course of a network's epochs: which come next, which are open, void or claimable.
//!
//! **The shift.** An epoch is void [`OPEN_EPOCHS`] epochs after its own. Dissent on one of age `a` makes it
//! and all later ones void `a` epochs later than that: the disputed one has all its time again, and each that
//! was dropped with it has more. So dissent alone voids nothing, though a window may be longer than epochs
//! are open. With every decision the shift falls to how far settlement is behind, and so to nothing.
//!
//! **The clock of windows** counts the blocks of a network in which dissent is possible on everything that
//! was ever decided: it stands still from a dissent until all that it dropped is decided again, or void.
//! Windows are counted on it, and a choice that is decided again keeps its window. If they ran on meanwhile,
//! who decided a false root could dissent from another one until the window of the false one is over; if they
//! began anew, one bond would hold up all claims of a network for a whole window.

use super::state::{Clock, Course, Outcome, Settlements};
use crate::abi::ISettlements::{AlreadyFinal, WrongEpoch};
use crate::context::Context;
use crate::env::{Failure, ensure};
use crate::networks::Networks;
use protocol::{Epoch, NetworkId};

/// How many epochs after its own an epoch can still be decided; then it is void (`mod.rs`).
pub(crate) const OPEN_EPOCHS: u64 = 30;

impl Clock {
    /// The blocks of a dispute window.
    const fn window(&self) -> u64 {
        self.dispute.saturating_mul(self.length)
    }
}

impl Course {
    /// The first epoch in which `epoch` is void unless it is decided.
    const fn void_from(&self, epoch: u64) -> u64 {
        epoch.saturating_add(OPEN_EPOCHS).saturating_add(self.shift).saturating_add(1)
    }

    /// Whether a dispute can still be decided in epoch `now`.
    pub(super) const fn is_disputed(&self, now: Epoch) -> bool {
        self.open && now.0 < self.void_from(self.disputed)
    }

    /// The height at which the stopped clock of windows goes on at the latest: all that was dropped is void.
    fn resumes(&self, clock: &Clock) -> u64 {
        clock.epochs().first(Epoch(self.void_from(self.behind))).0
    }

    /// The blocks up to `height` in which the clock of windows stood still.
    fn stood(&self, clock: &Clock, height: u64) -> u64 {
        let running = match self.since {
            0 => 0,
            since => height.min(self.resumes(clock)).saturating_sub(since),
        };
        self.stood.saturating_add(running)
    }

    /// Where the clock of windows stands.
    pub(super) fn windows(&self, clock: &Clock, height: u64) -> u64 {
        height.saturating_sub(self.stood(clock, height))
    }

    /// Lets the clock of windows go on.
    fn start(self, clock: &Clock, height: u64) -> Self {
        Self { since: 0, stood: self.stood(clock, height), ..self }
    }

    /// The course once `epoch` is decided.
    pub(super) fn decided(self, clock: &Clock, height: u64, epoch: Epoch) -> Self {
        let caught_up = epoch.0 >= self.behind || height >= self.resumes(clock);
        let course = if caught_up { self.start(clock, height) } else { self };
        let now = clock.epochs().epoch(protocol::Height(height));
        let behind = now.0.saturating_sub(epoch.0).saturating_sub(1);
        Self { shift: course.shift.min(behind), ..course }
    }

    /// The course once dissent dropped the epochs from `epoch` to `last`.
    pub(super) fn disputed(self, clock: &Clock, height: u64, dropped: (Epoch, Epoch)) -> Self {
        let (epoch, last) = dropped;
        let over = self.since == 0 || height >= self.resumes(clock);
        let course = if over { self.start(clock, height) } else { self };
        let now = clock.epochs().epoch(protocol::Height(height));
        Self {
            shift: course.shift.max(now.0.saturating_sub(epoch.0)),
            disputed: epoch.0,
            behind: if over { last.0 } else { course.behind.max(last.0) },
            open: true,
            since: if over { height } else { course.since },
            dissents: course.dissents.saturating_add(1),
            ..course
        }
    }
}

impl Settlements {
    /// The epoch that votes are for: the disputed one, else the one after the newest decided or the first of
    /// the network, but none that is void.
    pub(super) fn next_epoch(
        &self,
        cx: &mut Context<'_>,
        network: NetworkId,
    ) -> Result<Epoch, Failure> {
        let (course, now) = (self.courses.get(cx, network.0)?, cx.epoch()?);
        if course.is_disputed(now) {
            return Ok(Epoch(course.disputed));
        }
        let first = match self.last_final(cx, network)? {
            Some(last) => last.next().0,
            None => Networks::new().record(cx, network)?.start,
        };
        let open = now.0.saturating_sub(OPEN_EPOCHS).saturating_sub(course.shift);
        Ok(Epoch(first.max(open)))
    }

    /// The first epoch in which `epoch` is void unless it is decided.
    pub(crate) fn void_from(
        &self,
        cx: &mut Context<'_>,
        network: NetworkId,
        epoch: Epoch,
    ) -> Result<u64, Failure> {
        Ok(self.courses.get(cx, network.0)?.void_from(epoch.0))
    }

    /// Whether no outcome of `epoch` can come any more that is not there: it is decided or void, and no
    /// dissent can open it again, as everything that was decided is claimable.
    pub(crate) fn is_closed(
        &self,
        cx: &mut Context<'_>,
        network: NetworkId,
        epoch: Epoch,
    ) -> Result<bool, Failure> {
        if self.next_epoch(cx, network)? <= epoch {
            return Ok(false);
        }
        match self.last_final(cx, network)? {
            Some(last) => {
                let outcome = self.outcomes.get2(cx, network.0, last.0)?;
                self.is_claimable(cx, network, &outcome)
            }
            None => Ok(true),
        }
    }

    /// The decided epoch on which `epoch` builds: the one before it if it is decided itself, else the newest.
    pub(super) fn final_before(
        &self,
        cx: &mut Context<'_>,
        network: NetworkId,
        epoch: Epoch,
    ) -> Result<Option<Epoch>, Failure> {
        let finals = self.finals.at_key(cx, network.0)?;
        let before = match self.standing(cx, network, epoch)? {
            Some(outcome) => outcome.index,
            None => finals.len(cx)?,
        };
        match before.checked_sub(1) {
            Some(index) => Ok(finals.get(cx, index)?.map(Epoch)),
            None => Ok(None),
        }
    }

    /// Refuses all epochs but the next, or any from there on if none is decided or disputed yet.
    pub(super) fn expect(
        &self,
        cx: &mut Context<'_>,
        network: NetworkId,
        epoch: Epoch,
    ) -> Result<(), Failure> {
        let (last, next) = (self.last_final(cx, network)?, self.next_epoch(cx, network)?);
        let now = cx.epoch()?;
        let free = last.is_none() && !self.courses.get(cx, network.0)?.is_disputed(now);
        let (network, number, expected) = (network.0, epoch.0, next.0);
        let known = last.is_some_and(|last| epoch <= last);
        ensure!(!known, AlreadyFinal { network, epoch: number });
        let in_order = epoch == next || free && epoch > next;
        ensure!(in_order, WrongEpoch { network, epoch: number, expected });
        Ok(())
    }

    /// Whether the dispute window of what stands is over.
    pub(super) fn is_claimable(
        &self,
        cx: &mut Context<'_>,
        network: NetworkId,
        outcome: &Outcome,
    ) -> Result<bool, Failure> {
        let (clock, course) = (self.clock(cx)?, self.courses.get(cx, network.0)?);
        let over = outcome.decided.saturating_add(clock.window());
        Ok(course.windows(&clock, cx.height()) > over)
    }

    /// The height from which a decided epoch can be claimed. Nothing if it is not decided, or as long as the
    /// clock of windows stands still in its window.
    pub(super) fn claimable_from(
        &self,
        cx: &mut Context<'_>,
        network: NetworkId,
        epoch: Epoch,
    ) -> Result<Option<u64>, Failure> {
        let Some(outcome) = self.standing(cx, network, epoch)? else { return Ok(None) };
        let (clock, course) = (self.clock(cx)?, self.courses.get(cx, network.0)?);
        let height = cx.height();
        let over = outcome.decided.saturating_add(clock.window()).saturating_add(1);
        let stopped = course.since != 0 && height < course.resumes(&clock);
        if stopped && course.windows(&clock, height) < over {
            return Ok(None);
        }
        Ok(Some(over.saturating_add(course.stood(&clock, height))))
    }

    /// The newest epoch of a network that can be claimed. Windows end in the order of epochs, so it is found
    /// by halves.
    pub(super) fn claimable_epoch(
        &self,
        cx: &mut Context<'_>,
        network: NetworkId,
    ) -> Result<Option<Epoch>, Failure> {
        let finals = self.finals.at_key(cx, network.0)?;
        let (mut found, mut low, mut high) = (None, 0, finals.len(cx)?);
        while low < high {
            let middle = low.midpoint(high);
            let Some(epoch) = finals.get(cx, middle)? else { break };
            let outcome = self.outcomes.get2(cx, network.0, epoch)?;
            if self.is_claimable(cx, network, &outcome)? {
                (found, low) = (Some(Epoch(epoch)), middle.saturating_add(1));
            } else {
                high = middle;
            }
        }
        Ok(found)
    }
}
