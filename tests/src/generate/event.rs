//! An event: signed, with its id, and as Synapse stores it.

use std::fmt::Write as _;

use anyhow::Context as _;
use ed25519_dalek::{SigningKey, pkcs8::EncodePrivateKey as _};
use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, RoomVersionId,
    room_version_rules::RoomVersionRules,
    signatures::{Ed25519KeyPair, hash_and_sign_event, reference_hash},
};
use serde_json::{Value, json};

/// A version of rooms: what decides the form of their events.
#[derive(Debug)]
pub(super) struct Version {
    pub(super) name: &'static str,
    pub(super) rules: RoomVersionRules,
    /// Synapse's number of the form.
    pub(super) format: i64,
}

impl Version {
    /// The versions that rooms have, common ones more often.
    pub(super) const COMMON: [&str; 8] = ["10", "10", "10", "10", "9", "6", "11", "12"];

    pub(super) fn new(name: &'static str) -> anyhow::Result<Self> {
        let rules = RoomVersionId::try_from(name)?.rules().context("ruma knows the version")?;
        Ok(Self { name, rules, format: if name == "12" { 4 } else { 3 } })
    }

    /// Whether the room's id is that of its create event.
    pub(super) fn created_is_id(&self) -> bool {
        self.rules.authorization.room_create_event_id_as_room_id
    }

    /// Whether creators have all power without being named.
    pub(super) fn creators_have_power(&self) -> bool {
        self.rules.authorization.explicitly_privilege_room_creators
    }
}

/// The server that all users and events are of.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) name: String,
    pub(super) key: Ed25519KeyPair,
}

/// The key with this seed, which has 32 bytes.
pub(super) fn key(version: &str, seed: &[u8]) -> anyhow::Result<Ed25519KeyPair> {
    let der = SigningKey::from_bytes(seed.try_into()?).to_pkcs8_der()?;
    Ok(Ed25519KeyPair::from_der(der.as_bytes(), version.to_owned())?)
}

/// What an event is made of; ids and signatures are not there yet.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) kind: &'static str,
    pub(super) sender: String,
    pub(super) state_key: Option<String>,
    pub(super) content: Value,
    /// At the top in rooms before version 11, in the content since.
    pub(super) redacts: Option<String>,
}

/// Where it stands.
#[derive(Debug)]
pub(super) struct Place<'a> {
    pub(super) room_id: &'a str,
    pub(super) prev: Vec<&'a str>,
    pub(super) auth: Vec<&'a str>,
    pub(super) depth: i64,
    pub(super) ts: i64,
}

/// Signs an event; gives its id and its JSON as Synapse stores it.
pub(super) fn sign(
    server: &Server,
    version: &Version,
    draft: &Draft,
    place: &Place<'_>,
    mut unsigned: Value,
) -> anyhow::Result<(String, String)> {
    let mut event = json!({
        "type": draft.kind, "sender": draft.sender, "content": draft.content,
        "origin_server_ts": place.ts, "depth": place.depth,
        "prev_events": place.prev, "auth_events": place.auth,
    });
    if !(version.created_is_id() && draft.kind == "m.room.create") {
        event["room_id"] = place.room_id.into();
    }
    if let Some(state_key) = &draft.state_key {
        event["state_key"] = state_key.as_str().into();
    }
    if let Some(redacts) = &draft.redacts {
        let in_content = version.rules.redaction.content_field_redacts;
        let holder = if in_content { &mut event["content"] } else { &mut event };
        holder["redacts"] = redacts.as_str().into();
    }
    let mut event: CanonicalJsonObject = serde_json::from_value(event)?;
    hash_and_sign_event(&server.name, &server.key, &mut event, &version.rules.redaction)?;
    let id = format!("${}", reference_hash(&event, &version.rules)?);
    unsigned["age_ts"] = place.ts.into();
    event.insert("unsigned".to_owned(), CanonicalJsonValue::try_from(unsigned)?);
    Ok((id, ascii(&serde_json::to_string(&event)?)?))
}

/// JSON as Python writes it: other letters than those of ASCII are escaped. They stand in strings only.
pub(super) fn ascii(json: &str) -> anyhow::Result<String> {
    let mut text = String::with_capacity(json.len());
    for character in json.chars() {
        if character.is_ascii() {
            text.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                write!(text, "\\u{unit:04x}")?;
            }
        }
    }
    Ok(text)
}
