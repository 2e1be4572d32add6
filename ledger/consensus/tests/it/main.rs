//! A validator on the real runtime: started, stopped, killed, and started again in one folder.

mod folder;
mod kill;
mod support;
