//! Synapse's admin, client and federation APIs as a source.

/// Why the APIs can't be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApiError {}
