//! The S3 service.
mod num;
pub mod codec;
pub mod index;
pub mod keys;
pub mod placement;
pub mod fetch;
pub mod fleet;
pub mod purse;
pub mod shards;
