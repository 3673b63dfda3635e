//! The two hashes of an event, over slices of its canonical JSON.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use ruma::room_version_rules::{EventIdFormatVersion, RedactionRules, RoomVersionRules};
use sha2::{Digest as _, Sha256};

use super::canonical_text::{Member, get, members, plain};

/// Bytes of the largest event that has hashes.
const LARGEST: usize = 65_535;

/// What is signed of an event, and hashed to be its id: what its redaction would leave, without id and signatures. `None`
/// if it is no event, or a parser has to look at it.
pub(crate) fn signed(event: &[Member<'_>], rules: &RedactionRules) -> Option<String> {
    let kind = plain(get(event, "type")?)?;
    let is_kept = |name: &str| match name {
        "auth_events" | "content" | "depth" | "hashes" | "origin_server_ts" | "prev_events"
        | "room_id" | "sender" | "state_key" | "type" => true,
        "membership" | "origin" | "prev_state" => rules.keep_origin_membership_prev_state,
        _ => false,
    };
    let mut text = String::with_capacity(1024);
    let mut object = Writer::new(&mut text);
    for (name, value) in event.iter().filter(|(name, _)| is_kept(name)) {
        if *name == "content" {
            content(kind, value, rules, object.member(name))?;
        } else {
            object.member(name).push_str(value);
        }
    }
    object.end();
    (text.len() <= LARGEST).then_some(text)
}

/// Appends what redaction leaves of a content.
fn content(kind: &str, content: &str, rules: &RedactionRules, text: &mut String) -> Option<()> {
    if kind == "m.room.create" && rules.keep_room_create_content {
        text.push_str(content);
        return Some(());
    }
    let mut object = Writer::new(text);
    if KINDS.contains(&kind) {
        for (name, value) in members(content)? {
            if (kind, name) == ("m.room.member", "third_party_invite") {
                invite(value, rules, &mut object)?;
            } else if is_kept(kind, name, rules) {
                object.member(name).push_str(value);
            }
        }
    }
    object.end();
    Some(())
}

/// Types of events whose content is not redacted whole.
const KINDS: [&str; 7] = [
    "m.room.aliases",
    "m.room.create",
    "m.room.history_visibility",
    "m.room.join_rules",
    "m.room.member",
    "m.room.power_levels",
    "m.room.redaction",
];

/// Whether redaction leaves a member of a content. Source: the Matrix specification, room versions 3 to 12, *Redactions*.
fn is_kept(kind: &str, name: &str, rules: &RedactionRules) -> bool {
    match (kind, name) {
        ("m.room.member", "membership")
        | ("m.room.create", "creator")
        | ("m.room.join_rules", "join_rule")
        | ("m.room.history_visibility", "history_visibility")
        | (
            "m.room.power_levels",
            "ban" | "events" | "events_default" | "kick" | "redact" | "state_default" | "users"
            | "users_default",
        ) => true,
        ("m.room.member", "join_authorised_via_users_server") => {
            rules.keep_room_member_join_authorised_via_users_server
        }
        ("m.room.join_rules", "allow") => rules.keep_room_join_rules_allow,
        ("m.room.power_levels", "invite") => rules.keep_room_power_levels_invite,
        ("m.room.redaction", "redacts") => rules.keep_room_redaction_redacts,
        ("m.room.aliases", "aliases") => rules.keep_room_aliases_aliases,
        _ => false,
    }
}

/// Appends the part of a third-party invite that redaction keeps: what is signed.
fn invite(value: &str, rules: &RedactionRules, content: &mut Writer<'_>) -> Option<()> {
    if !rules.keep_room_member_third_party_invite_signed {
        return Some(());
    }
    if let Some(signed) = get(&members(value)?, "signed") {
        let mut object = Writer::new(content.member("third_party_invite"));
        object.member("signed").push_str(signed);
        object.end();
    }
    Some(())
}

/// Whether an event id is the hash of what is signed.
pub(crate) fn is_id(id: &str, signed: &str, rules: &RoomVersionRules) -> bool {
    let hash = Sha256::digest(signed.as_bytes());
    let encoded = match rules.event_id_format {
        EventIdFormatVersion::V1 | EventIdFormatVersion::V2 => STANDARD_NO_PAD.encode(hash),
        _ => URL_SAFE_NO_PAD.encode(hash),
    };
    id.strip_prefix('$') == Some(&encoded)
}

/// The hash of an event's content, as events note it: of all but the id, the signatures and what servers add.
pub(crate) fn content_hash(event: &[Member<'_>]) -> Option<String> {
    let mut text = String::with_capacity(1024);
    let mut object = Writer::new(&mut text);
    let is_hashed = |name: &str| !["event_id", "hashes", "signatures", "unsigned"].contains(&name);
    for (name, value) in event.iter().filter(|(name, _)| is_hashed(name)) {
        object.member(name).push_str(value);
    }
    object.end();
    (text.len() <= LARGEST).then(|| STANDARD_NO_PAD.encode(Sha256::digest(text.as_bytes())))
}

/// Writes an object of members that are in order, whose names have no escapes.
struct Writer<'a> {
    text: &'a mut String,
    next: char,
}

impl<'a> Writer<'a> {
    fn new(text: &'a mut String) -> Self {
        Self { text, next: '{' }
    }

    /// Begins a member; its value is to be appended to what this returns.
    fn member(&mut self, name: &str) -> &mut String {
        self.text.push(std::mem::replace(&mut self.next, ','));
        self.text.push('"');
        self.text.push_str(name);
        self.text.push_str("\":");
        self.text
    }

    fn end(self) {
        if self.next == '{' {
            self.text.push('{');
        }
        self.text.push('}');
    }
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, sample::select};
    use ruma::{CanonicalJsonObject, RoomVersionId, canonical_json::redact};
    use serde_json::{Map, Value, json};

    use super::*;

    /// Names that some rule keeps, and others.
    const NAMES: [&str; 24] = [
        "aliases",
        "allow",
        "ban",
        "body",
        "creator",
        "events",
        "events_default",
        "history_visibility",
        "invite",
        "join_authorised_via_users_server",
        "join_rule",
        "kick",
        "membership",
        "notifications",
        "redact",
        "redacts",
        "room_version",
        "state_default",
        "topic",
        "users",
        "users_default",
        "zzz",
        "deny",
        "origin",
    ];

    /// Compares with ruma's hashes and its redaction.
    fn check(event: &Value, version: &str) {
        let rules = RoomVersionId::try_from(version).unwrap().rules().unwrap();
        let text = serde_json::to_string(&event).unwrap();
        let mut parsed: CanonicalJsonObject = serde_json::from_str(&text).unwrap();
        let text = serde_json::to_string(&parsed).unwrap();
        let event = members(&text).unwrap();
        parsed.remove("event_id");
        let reference = ruma::signatures::reference_hash(&parsed, &rules).unwrap();
        let signed = signed(&event, &rules.redaction).unwrap();
        assert!(is_id(&format!("${reference}"), &signed, &rules), "{version}: {signed}");
        assert!(!is_id(&reference, &signed, &rules));
        let mut redacted = redact(parsed.clone(), &rules.redaction, None).unwrap();
        redacted.remove("signatures");
        assert_eq!(serde_json::to_string(&redacted).unwrap(), signed);
        let hash = ruma::signatures::content_hash(&parsed).unwrap().encode();
        assert_eq!(content_hash(&event), Some(hash));
    }

    proptest! {
        #[test]
        fn what_is_hashed_is_what_ruma_hashes(
            kind in select([&KINDS[..], &["m.room.message", "m.room.server_acl"]].concat()),
            names in proptest::sample::subsequence(NAMES.to_vec(), 0..NAMES.len()),
            invite in proptest::option::of(select(vec![
                json!({}), json!({"signed": {"token": "t"}}), json!({"display_name": "x"}),
                json!({"display_name": "x", "signed": {"mxid": "@a:x", "token": "ü\n"}}),
            ])),
            more in proptest::sample::subsequence(
                vec!["state_key", "unsigned", "origin", "membership", "prev_state", "age_ts", "redacts", "event_id"],
                0..8,
            ),
            version in select(vec!["3", "4", "5", "6", "7", "8", "9", "10", "11", "12"]),
        ) {
            let mut content: Map<String, Value> =
                names.iter().map(|name| ((*name).to_owned(), json!({"of": [name, 1, null]}))).collect();
            content.extend(invite.map(|invite| ("third_party_invite".to_owned(), invite)));
            let mut event = json!({
                "auth_events": ["$a"], "content": content, "depth": 3, "hashes": {"sha256": "x"},
                "origin_server_ts": 1, "prev_events": [], "room_id": "!r:x", "sender": "@a:x",
                "signatures": {"x": {"ed25519:1": "y"}}, "type": kind,
            });
            for name in more {
                event[name] = if name == "unsigned" { json!({"age": 1}) } else { json!("x") };
            }
            check(&event, version);
        }
    }

    #[test]
    fn what_is_too_large_has_no_hash() {
        let text = format!(
            r#"{{"content":{{"body":"{}"}},"state_key":"{}","type":"m"}}"#,
            "a".repeat(70_000),
            "b".repeat(70_000)
        );
        let event = members(&text).unwrap();
        let rules = RoomVersionId::V10.rules().unwrap();
        assert_eq!((signed(&event, &rules.redaction), content_hash(&event)), (None, None));
    }
}
