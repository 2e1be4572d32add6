//! A validator on the real runtime: started, stopped, killed, and started again in one folder.

#[cfg(test)]
mod folder;
#[cfg(test)]
mod kill;
#[cfg(test)]
mod support;
