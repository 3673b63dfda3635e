//! What is known of the server from the beginning and does not change.

use ruma::signatures::Ed25519KeyPair;
use secrecy::ExposeSecret as _;

use super::ImportError;
use crate::{conduit::schema::keypair, dump::format::DumpServer};

/// Facts about the server.
pub(super) struct Context {
    pub(super) server_name: String,
    /// When the dump was made, in milliseconds since the epoch: the time of what has none.
    pub(super) created_ts: u64,
    /// The server's signing key.
    pub(super) signer: Ed25519KeyPair,
}

impl Context {
    pub(super) fn new(server: &DumpServer, created_ts: u64) -> Result<Self, ImportError> {
        let key = &server.signing_key;
        let der = keypair::pkcs8(&key.version, key.seed.expose_secret())?;
        let signer = Ed25519KeyPair::from_der(&der, key.version.clone())
            .map_err(|error| ImportError::AdminRoom(error.to_string()))?;
        Ok(Self { server_name: server.server_name.clone(), created_ts, signer })
    }
}
