//! Single events with real hashes, signatures and ids.

use ruma::{
    CanonicalJsonObject, EventId, RoomVersionId,
    room_version_rules::RoomVersionRules,
    signatures::{hash_and_sign_event, reference_hash},
};
use serde_json::Value;

use super::room_builder::BuildError;
use crate::{client::SigningKey, host::Pdu};

/// What signs the events of a test: all servers have one key.
#[derive(Clone, Debug)]
pub struct EventSigner {
    key: SigningKey,
    rules: RoomVersionRules,
}

impl EventSigner {
    /// A signer for rooms of a version.
    ///
    /// # Errors
    ///
    /// If the version has no rules.
    pub fn new(version: &RoomVersionId, key: SigningKey) -> Result<Self, BuildError> {
        let rules = version.rules().ok_or_else(|| BuildError("unknown version".into()))?;
        Ok(Self { key, rules })
    }

    /// A signer with a key of this version and seed (unpadded base64).
    ///
    /// # Errors
    ///
    /// If the version has no rules, or the seed is none.
    pub fn with_seed(
        version: &RoomVersionId,
        key_version: &str,
        seed: &str,
    ) -> Result<Self, BuildError> {
        let key = SigningKey::parse(&format!("ed25519 {key_version} {seed}"));
        Self::new(version, key.map_err(|error| BuildError(error.to_string()))?)
    }

    /// The key.
    pub fn key(&self) -> &SigningKey {
        &self.key
    }

    /// What the room's version says.
    pub fn rules(&self) -> &RoomVersionRules {
        &self.rules
    }

    /// Hashes an event, signs it as the sender's server, and computes its id.
    ///
    /// # Errors
    ///
    /// If the event is no canonical JSON, has no sender, or can't be signed.
    pub fn sign(&self, event: Value) -> Result<Pdu, BuildError> {
        let sender = event.get("sender").and_then(Value::as_str).and_then(server);
        let server = sender.map(str::to_owned).ok_or_else(|| BuildError("no sender".into()))?;
        self.sign_as(event, &[&server])
    }

    /// [`Self::sign`] as several servers, or others than the sender's.
    ///
    /// # Errors
    ///
    /// If the event is no canonical JSON, or can't be signed.
    pub fn sign_as(&self, event: Value, servers: &[&str]) -> Result<Pdu, BuildError> {
        let error = |error: &dyn std::fmt::Display| BuildError(error.to_string());
        let mut json: CanonicalJsonObject =
            serde_json::from_value(event).map_err(|why| error(&why))?;
        for server in servers {
            hash_and_sign_event(server, &self.key, &mut json, &self.rules.redaction)
                .map_err(|why| error(&why))?;
        }
        let hash = reference_hash(&json, &self.rules).map_err(|why| error(&why))?;
        let event_id = EventId::parse(format!("${hash}")).map_err(|why| error(&why))?;
        Ok(Pdu { event_id, json })
    }
}

/// The server of a user.
pub(super) fn server(user: &str) -> Option<&str> {
    Some(user.split_once(':')?.1)
}
