//! The commands besides `up` and `tour`, one file each; all print for people or as JSON.

pub(crate) mod agent;
pub(crate) mod claim;
pub(crate) mod dissent;
pub(crate) mod doctor;
mod elsewhere;
pub(crate) mod fine;
pub(crate) mod init;
pub(crate) mod join;
pub(crate) mod key;
pub(crate) mod names;
pub(crate) mod network;
pub(crate) mod node;
pub(crate) mod remove;
pub(crate) mod send;
pub(crate) mod service;
pub(crate) mod statement;
pub(crate) mod status;
pub(crate) mod validator;
pub(crate) mod verify;
pub(crate) mod why;
