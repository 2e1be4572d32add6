//! What an agent of one kind adds to the runtime: the hardware itself.

use protocol::{Epoch, envelope::Body, inputs::Inputs, kind::Duty, voucher::SignedVoucher};

/// What a device says of itself in its reports, in the kind's unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Units in use.
    pub used: u64,
    /// Units still free.
    pub free: u64,
}

/// Why a proof cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ProveError(pub String);

/// The hardware behind one device. Calls may block; the shell makes them where blocking is allowed,
/// several at once.
pub trait Hardware: Send + Sync + 'static {
    /// What is used and free. Cheap.
    fn figures(&self) -> Figures;

    /// A new epoch's inputs are known.
    fn open(&self, inputs: &Inputs);

    /// No more evidence of `epoch`, or of one before it, can be carried.
    fn close(&self, epoch: Epoch);

    /// Looks cheaply, before a duty's window, whether it can be fulfilled. If not, the body that
    /// declares the loss.
    fn inspect(&self, inputs: &Inputs, duty: &Duty) -> Option<Body>;

    /// Proves a duty, inside its window.
    ///
    /// # Errors
    /// When what must be proven is not there.
    fn prove(&self, inputs: &Inputs, duty: &Duty) -> Result<Body, ProveError>;

    /// The best voucher of each rail, by rail.
    fn vouchers(&self) -> Vec<SignedVoucher>;
}
