//! storage-kind
