//! Beginning a history at a state that was fetched.

use crate::{
    application::Shared,
    history::{Finalized, HistoryError},
};
use alloy_primitives::B256;
use commonware_consensus::{marshal::Identifier, types::Height};
use std::sync::Arc;

/// Why the history could not begin at a fetched state.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BeginError {
    #[error("block {0} of the fetched state is missing")]
    Block(u64),
    #[error(
        "the fetched state has root {here}, but block {height} names {named}: a committee lied"
    )]
    Root { height: u64, here: B256, named: B256 },
    #[error(transparent)]
    History(#[from] HistoryError),
}

/// Begins the history after the block at `height`, whose fetched state has the canonical root `root`, and
/// makes it the head. Doing so again changes nothing.
///
/// # Errors
/// The state is not the one that the block names, or the history cannot be written.
pub(crate) async fn begin(shared: &Shared, height: u64, root: B256) -> Result<(), BeginError> {
    let marshal = shared.marshal.get().ok_or(BeginError::Block(height))?;
    let block = marshal.get_block(Identifier::Height(Height::new(height))).await;
    let block = block.ok_or(BeginError::Block(height))?;
    let header = block.inner().header();
    if header.state.root != root {
        return Err(BeginError::Root { height, here: root, named: header.state.root });
    }
    shared.history.begin(header)?;
    tracing::info!(height, %root, "the state is fetched: the history of this node begins here");
    let base = Arc::new(Finalized::base(header.clone()));
    shared.head.send_if_modified(|head| {
        let newer = base.height() > head.height();
        if newer {
            *head = base;
        }
        newer
    });
    Ok(())
}
