//! Settlement: a pure function from the inputs file, the previous statement and the evidence of an
//! epoch to its statement and root (design 7 to 9).
//!
//! ```text
//! collect -> judge -> vouchers -> pay -> split -> reward -> slash -> accounts -> statement -> check
//! ```
//!
//! [`settle()`] states that order once; each step is a file. Every validator runs it and votes on the
//! result; anyone runs it again from the archive ([`verify`](mod@verify)), and where two disagree,
//! [`compare`] names the rows.
//!
//! Never here: input or output, a clock, randomness, floating point, or the name of a resource kind.
//!
//! Invariants, all checked on every statement before it is returned ([`check`](mod@check)):
//! * dollars spent are dollars earned plus dollars set aside to burn, in sum and for each class;
//! * a rail never pays more than its limit, a device never loses more than its stake, and
//!   an owner's devices never more than the owner has left at stake;
//! * cumulative amounts never fall, vested ones included;
//! * every row has a cause, and every row without pay one that explains it;
//! * an author's faults move no dollar and no token: what they cost is coin, and the ledger's affair;
//! * the order of the evidence changes nothing.
//!
//! Cost: every list is walked once or sorted once; nothing scans one list for each entry of another.

pub mod check;
pub mod compare;
mod settle;
pub mod verify;

pub use compare::{Difference, Differences, Subject, differences};
pub use settle::{Kinds, SettleError, Settled, settle, settle_with};
pub use verify::{VerifyError, verify};
