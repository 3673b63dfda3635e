//! What an event's id, hashes and signatures say of it.

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, canonical_json::redact,
    room_version_rules::RoomVersionRules, serde::Base64, signatures::PublicKeyMap,
};

use super::{Own, text};
use crate::verify::{found::Found, sum::hash};

/// As with a wrong signature, the event is as it came from Synapse, which shows it; the comparison with the dump sees a change.
const WRONG_HASH: &str = "its content hash is wrong and it is not redacted";

/// Checks the id of an event, the hash of its content, and the signature of this server if it has one.
pub(super) fn check(
    id: &str,
    mut pdu: CanonicalJsonObject,
    rules: &RoomVersionRules,
    own: &Own<'_>,
    found: &mut Found,
) {
    pdu.remove("event_id");
    let unsigned = pdu.remove("unsigned");
    let redacted = unsigned
        .as_ref()
        .and_then(CanonicalJsonValue::as_object)
        .is_some_and(|unsigned| unsigned.contains_key("redacted_because"));
    let is_hash = |pdu: &CanonicalJsonObject| {
        ruma::signatures::reference_hash(pdu, rules)
            .is_ok_and(|hash| id.strip_prefix('$') == Some(&hash))
    };
    if !is_hash(&pdu) {
        let origin = CanonicalJsonValue::String(own.name.to_owned());
        pdu.entry("origin".into()).or_insert(origin);
        if !redacted || !is_hash(&pdu) {
            return found.error("V109", id, "its id is not the hash of its content");
        }
        found.note("V117", id, "lost its `origin` when Conduit redacted it");
    }
    let sender = text(&pdu, "sender").unwrap_or_default();
    let Some((key_id, public)) = &own.key else { return };
    if sender.split_once(':').map(|(_, server)| server) != Some(own.name) {
        return;
    }
    let signed_by_key = pdu
        .get("signatures")
        .and_then(CanonicalJsonValue::as_object)
        .and_then(|signatures| signatures.get(own.name)?.as_object())
        .is_some_and(|signatures| signatures.contains_key(key_id));
    if !signed_by_key {
        return found.note("V116", id, "is signed by a key of before");
    }
    if !hash(&id).is_multiple_of(own.one_in) {
        let noted = pdu.get("hashes").and_then(|hashes| text(hashes.as_object()?, "sha256"));
        let made = ruma::signatures::content_hash(&pdu).ok().map(|hash| hash.encode());
        if made.as_deref() != noted && !redacted && !is_pruned(&pdu, rules) {
            found.warning("V109", id, WRONG_HASH);
        }
        return;
    }
    let keys = PublicKeyMap::from([(
        own.name.to_owned(),
        [(key_id.clone(), Base64::new(public.clone()))].into(),
    )]);
    // The other servers' signatures can't be checked here; theirs are set aside.
    if let Some(CanonicalJsonValue::Object(signatures)) = pdu.get_mut("signatures") {
        signatures.retain(|server, _| server == own.name);
    }
    match ruma::signatures::verify_event(&keys, &pdu, rules) {
        Ok(ruma::signatures::Verified::All) => {}
        // Without the content that was hashed, as servers keep an event whose sender was erased.
        Ok(ruma::signatures::Verified::Signatures) if redacted || is_pruned(&pdu, rules) => {}
        Ok(_) => found.warning("V109", id, WRONG_HASH),
        // As it came from Synapse: the comparison with the dump sees a change.
        Err(error) => {
            let public = STANDARD_NO_PAD.encode(public);
            found.warning("V109", id, format!("signature by {key_id} ({public}): {error}"));
        }
    }
}

/// Whether an event holds no more than what its redaction would leave.
fn is_pruned(pdu: &CanonicalJsonObject, rules: &RoomVersionRules) -> bool {
    redact(pdu.clone(), &rules.redaction, None).is_ok_and(|pruned| pruned == *pdu)
}
