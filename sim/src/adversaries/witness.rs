//! Who passes on everything. It is honest; through it the court sees how everybody votes.

use super::{Conduct, message::Message};

/// The conduct of an honest validator that is listened to.
#[derive(Clone, Copy, Debug)]
pub struct Witness;

impl Conduct for Witness {
    fn outbound(&self, _: usize, message: Message) -> Vec<Message> {
        vec![message]
    }
}
