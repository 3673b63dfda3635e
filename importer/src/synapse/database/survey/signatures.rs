//! Whether the configured keys are those that signed this server's newest events. With another key, other servers refuse
//! whatever Conduit will say.

use std::collections::BTreeMap;

use base64::{Engine as _, prelude::BASE64_STANDARD_NO_PAD};
use ed25519_dalek::{Signature, SigningKey, VerifyingKey};
use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, RoomVersionId, canonical_json::redact,
    room_version_rules::RoomVersionRules,
};
use secrecy::ExposeSecret as _;

use super::queries;
use crate::{
    source::survey::Signatures,
    synapse::{
        config::SynapseConfig,
        database::{DatabaseError, connection::Connection},
    },
};

/// Newest events, whoever sent them, among which this server's are looked for.
const LOOKED_AT: i64 = 5000;

/// Events of this server's that are looked at.
const SAMPLE: i64 = 20;

/// Keys by their ids.
type Keys = BTreeMap<String, VerifyingKey>;

/// Looks at the newest events of this server; `None`: there are none that can be judged.
pub(super) async fn read(
    db: &mut Connection,
    config: &SynapseConfig,
) -> Result<Option<Signatures>, DatabaseError> {
    let own = format!(":{}", config.server_name);
    let newest = format!(
        "SELECT event_id FROM (SELECT event_id, sender, stream_ordering FROM events WHERE NOT outlier \
         ORDER BY stream_ordering DESC LIMIT {LOOKED_AT}) newest \
         WHERE substr(sender, length(sender) - length($1) + 1) = $1 \
         ORDER BY stream_ordering DESC LIMIT {SAMPLE}"
    );
    // Where others talk most: the last thing that people of this server did in a room is to join it.
    let joined = format!(
        "SELECT l.event_id FROM local_current_membership l JOIN events e ON e.event_id = l.event_id \
         WHERE NOT e.outlier AND substr(e.sender, length(e.sender) - length($1) + 1) = $1 \
         ORDER BY e.stream_ordering DESC LIMIT {SAMPLE}"
    );
    let mut found = Signatures::default();
    for sql in [newest, joined] {
        let ids = queries::names(db, "events", &sql, &[own.as_str().into()]).await?;
        look_at(db, config, &ids, &mut found).await?;
        if found.events > 0 {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

async fn look_at(
    db: &mut Connection,
    config: &SynapseConfig,
    ids: &[String],
    found: &mut Signatures,
) -> Result<(), DatabaseError> {
    let sql = "SELECT j.event_id, j.json, r.room_version FROM event_json j \
               JOIN events e ON e.event_id = j.event_id JOIN rooms r ON r.room_id = e.room_id \
               WHERE j.event_id IN ($IDS)";
    let ids: Vec<_> = ids.iter().map(String::as_str).collect();
    let keys = keys(config);
    for row in db.rows_in("event_json", sql, &ids).await? {
        let Ok((id, json, version)) = row.decode::<(String, String, Option<String>)>() else {
            continue;
        };
        let Some(signed) = signed(&json, version.as_deref(), config.server_name.as_str()) else {
            continue;
        };
        found.events = found.events.saturating_add(1);
        if signed.signatures.iter().any(|(key, signature)| {
            keys.get(key).is_some_and(|key| key.verify_strict(&signed.text, signature).is_ok())
        }) {
            found.fitting = found.fitting.saturating_add(1);
        } else if found.example.is_none() {
            let key = signed.signatures.first().map(|(key, _)| key.clone());
            found.example = Some((id, key.unwrap_or_default()));
        }
    }
    Ok(())
}

/// What a server has signed, and its signatures by the ids of their keys.
struct Signed {
    text: Vec<u8>,
    signatures: Vec<(String, Signature)>,
}

/// Reads an event; `None` if it can't be judged, or has no signature of `server_name`.
fn signed(json: &str, version: Option<&str>, server_name: &str) -> Option<Signed> {
    let rules: RoomVersionRules = RoomVersionId::try_from(version?).ok()?.rules()?;
    let mut pdu: CanonicalJsonObject = serde_json::from_str(json).ok()?;
    pdu.remove("unsigned");
    let all = pdu.remove("signatures")?;
    let own = all.as_object()?.get(server_name)?.as_object()?;
    let signatures: Vec<_> = own
        .iter()
        .filter_map(|(key, signature)| {
            let bytes = BASE64_STANDARD_NO_PAD.decode(signature.as_str()?).ok()?;
            Some((key.clone(), Signature::from_slice(&bytes).ok()?))
        })
        .collect();
    // With the type that redaction asks for, an event is what was signed.
    let redacted = redact(pdu, &rules.redaction, None).ok()?;
    let text = CanonicalJsonValue::Object(redacted).to_string().into_bytes();
    (!signatures.is_empty()).then_some(Signed { text, signatures })
}

/// The configured keys, old ones too.
fn keys(config: &SynapseConfig) -> Keys {
    let present = std::iter::once(&config.signing_key).chain(&config.further_signing_keys);
    let present = present.filter_map(|key| {
        let seed = BASE64_STANDARD_NO_PAD.decode(key.seed.expose_secret()).ok()?;
        let key_id = format!("ed25519:{}", key.version);
        Some((key_id, SigningKey::from_bytes(&seed.try_into().ok()?).verifying_key()))
    });
    let old = config.old_signing_keys.iter().filter_map(|key| {
        let bytes = BASE64_STANDARD_NO_PAD.decode(&key.public_key).ok()?;
        Some((key.key_id.clone(), VerifyingKey::from_bytes(&bytes.try_into().ok()?).ok()?))
    });
    // Where an old key has the name of the present one, the present one counts.
    old.chain(present).collect()
}

#[cfg(test)]
mod tests;
