//! Who hears everything and says nothing but that it lives.

use super::{Conduct, message::Message};

/// The conduct of a validator that only listens.
#[derive(Clone, Copy, Debug)]
pub struct Mute;

impl Conduct for Mute {
    fn outbound(&self, _: usize, message: Message) -> Vec<Message> {
        match message {
            Message::Raw(_) => vec![message],
            _ => Vec::new(),
        }
    }
}
