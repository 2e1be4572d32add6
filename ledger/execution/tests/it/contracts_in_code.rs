//! System contracts called from transactions and from code.
