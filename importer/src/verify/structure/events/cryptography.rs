//! What an event's id, hashes and signatures say of it.

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use ed25519_dalek::Signature;
use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, canonical_json::redact,
    room_version_rules::RoomVersionRules, serde::Base64, signatures::PublicKeyMap,
};

use super::{
    Own,
    row::{Canonical, text},
    signatures::Signatures,
};
use crate::{
    conduit::{
        canonical_text::{get, members, pick, plain},
        event_hashes,
    },
    findings::{codes, collector::Findings},
};

/// Checks an event whose row is canonical, by slices of it. Returns false if something is not as usual, which a parser has to
/// look at; nothing is found then. If all is well but for the signature, that is added to those that wait to be checked.
pub(super) fn is_sound(
    event: &Canonical<'_>,
    row: &[u8],
    rules: &RoomVersionRules,
    own: &Own<'_>,
    waiting: &mut Signatures,
    found: &mut Findings,
) -> bool {
    sound(event, row, rules, own, waiting, found).is_some()
}

fn sound(
    event: &Canonical<'_>,
    row: &[u8],
    rules: &RoomVersionRules,
    own: &Own<'_>,
    waiting: &mut Signatures,
    found: &mut Findings,
) -> Option<()> {
    let id = &*event.read.id;
    let value = |name: &str| get(&event.members, name);
    let signed = event_hashes::signed(&event.members, &rules.redaction)?;
    event_hashes::is_id(id, &signed, rules).then_some(())?;
    let Some(key) = &own.key else { return Some(()) };
    let (_, server) = plain(value("sender")?)?.split_once(':')?;
    if server != own.name {
        return Some(());
    }
    let [by_own] = pick(value("signatures")?, [own.name])?;
    let by_own = by_own.map_or(Some(Vec::new()), members)?;
    let Some(signature) = get(&by_own, &key.id) else {
        found.add(&codes::SIGNED_BY_OLD_KEY, id, OLD_KEY);
        return Some(());
    };
    let [noted] = pick(value("hashes")?, ["sha256"])?;
    (event_hashes::content_hash(&event.members)? == plain(noted?)?).then_some(())?;
    if !own.checks_signature(id) {
        return Some(());
    }
    let signature = STANDARD_NO_PAD.decode(plain(signature)?).ok()?;
    let signature = Signature::from_slice(&signature).ok()?;
    (by_own.len() == 1).then(|| waiting.add(row, signed, signature))
}

const OLD_KEY: &str = "is signed by an earlier key";

/// Checks the id of an event, the hash of its content, and the signature of this server if it has one.
pub(super) fn check(
    id: &str,
    mut pdu: CanonicalJsonObject,
    rules: &RoomVersionRules,
    own: &Own<'_>,
    found: &mut Findings,
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
            return found.add(&codes::EVENT_ID_WRONG, id, "its id is not the hash of its content");
        }
        found.add(&codes::ORIGIN_LOST, id, "lost its `origin` when Conduit redacted it");
    }
    let sender = text(&pdu, "sender").unwrap_or_default();
    let Some(key) = &own.key else { return };
    let (key_id, public) = (&key.id, &key.public);
    if sender.split_once(':').map(|(_, server)| server) != Some(own.name) {
        return;
    }
    let signed_by_key = pdu
        .get("signatures")
        .and_then(CanonicalJsonValue::as_object)
        .and_then(|signatures| signatures.get(own.name)?.as_object())
        .is_some_and(|signatures| signatures.contains_key(key_id));
    if !signed_by_key {
        return found.add(&codes::SIGNED_BY_OLD_KEY, id, OLD_KEY);
    }
    // As it came from Synapse: the comparison with the dump sees a change.
    if own.checks_signature(id)
        && let Err(error) = check_signature(own.name, key_id, public, pdu.clone(), rules)
    {
        let public = STANDARD_NO_PAD.encode(public);
        return found.add(
            &codes::SIGNATURE_OR_CONTENT_HASH_WRONG,
            id,
            format!("signature by {key_id} ({public}): {error}"),
        );
    }
    // Without the content that was hashed, as servers keep an event whose sender was erased, or that was redacted.
    // A wrong hash, too, is as it came from Synapse, which shows the event all the same.
    let noted = pdu.get("hashes").and_then(|hashes| text(hashes.as_object()?, "sha256"));
    let made = ruma::signatures::content_hash(&pdu).ok().map(|hash| hash.encode());
    if made.as_deref() != noted && !redacted && !is_pruned(&pdu, rules) {
        found.add(
            &codes::SIGNATURE_OR_CONTENT_HASH_WRONG,
            id,
            "its content hash is wrong and it is not redacted",
        );
    }
}

/// Checks this server's signature. Those of others can't be checked here: of who has let a user into a restricted room, for
/// instance.
fn check_signature(
    server: &str,
    key_id: &str,
    public: &[u8],
    pdu: CanonicalJsonObject,
    rules: &RoomVersionRules,
) -> Result<(), String> {
    let mut signed = redact(pdu, &rules.redaction, None).map_err(|error| error.to_string())?;
    if let Some(CanonicalJsonValue::Object(signatures)) = signed.get_mut("signatures") {
        signatures.retain(|signer, _| signer == server);
    }
    let key = (key_id.to_owned(), Base64::new(public.to_owned()));
    let keys = PublicKeyMap::from([(server.to_owned(), [key].into())]);
    ruma::signatures::verify_json(&keys, &signed).map_err(|error| error.to_string())
}

/// Whether an event holds no more than what its redaction would leave.
fn is_pruned(pdu: &CanonicalJsonObject, rules: &RoomVersionRules) -> bool {
    redact(pdu.clone(), &rules.redaction, None).is_ok_and(|pruned| pruned == *pdu)
}
