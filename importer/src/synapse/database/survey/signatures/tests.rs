use conduit_backfill::testing::signed_event::EventSigner;
use ruma::{RoomVersionId, serde::Base64};
use secrecy::ExposeSecret as _;
use serde_json::json;

use super::keys;
use crate::{
    check::Checks,
    dump::format::{DumpOldSigningKey, DumpSigningKey},
    source::{Source as _, survey::Signatures},
    synapse::{
        config::SynapseConfig,
        database::testing::{Fixture, config, opened},
    },
};

/// The seed of the key that is configured in tests.
const OURS: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
/// Another one.
const OTHER: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

/// A room with events that are signed by these keys (version, seed), the newest last.
fn room(signatures: &[(&str, &str)]) -> Fixture {
    let mut fixture = Fixture::new();
    fixture.sql("INSERT INTO rooms (room_id, room_version) VALUES ('!r:own.test', '10')");
    for (number, (version, seed)) in signatures.iter().enumerate() {
        let signer = EventSigner::with_seed(&RoomVersionId::V10, version, seed).unwrap();
        let event = json!({
            "type": "m.room.message", "sender": "@alice:own.test", "room_id": "!r:own.test", "prev_events": [],
            "auth_events": [], "content": {"body": "x", "msgtype": "m.text"}, "depth": 1, "origin_server_ts": 1,
        });
        let mut pdu = signer.sign(event).unwrap().json;
        pdu.insert("unsigned".into(), serde_json::from_value(json!({"age_ts": 1})).unwrap());
        let json = serde_json::to_string(&pdu).unwrap();
        fixture.sql(&format!(
            "INSERT INTO events VALUES ({number}, 1, '${number}', 'm.room.message', '!r:own.test', FALSE, 1, '@alice:own.test')"
        ));
        fixture.sql(&format!("INSERT INTO event_json VALUES ('${number}', '{{}}', '{json}', 3)"));
    }
    fixture
}

async fn look(fixture: &Fixture, change: impl FnOnce(&mut SynapseConfig)) -> Option<Signatures> {
    let directory = tempfile::tempdir().unwrap();
    let mut config = config(fixture.sqlite(directory.path()));
    change(&mut config);
    let mut source = opened(&config).await;
    source.survey().await.unwrap().signatures
}

fn found(events: u64, fitting: u64, example: Option<(&str, &str)>) -> Signatures {
    let example = example.map(|(id, key)| (id.to_owned(), key.to_owned()));
    Signatures { events, fitting, example }
}

#[tokio::test]
async fn the_key_that_signed_is_known_from_others_of_its_name() {
    assert_eq!(look(&room(&[("a", OURS)]), |_| {}).await, Some(found(1, 1, None)));
    let other_seed = look(&room(&[("a", OTHER)]), |_| {}).await;
    assert_eq!(other_seed, Some(found(1, 0, Some(("$0", "ed25519:a")))));
    let other_name = look(&room(&[("b", OURS)]), |_| {}).await;
    assert_eq!(other_name, Some(found(1, 0, Some(("$0", "ed25519:b")))));
    assert_eq!(look(&room(&[]), |_| {}).await, None);
    let mut checks = Checks::default();
    let survey = crate::source::survey::Survey { signatures: other_seed, ..Default::default() };
    checks.survey(&survey, None);
    let blocking: Vec<_> =
        checks.finish().into_iter().filter(|found| found.code == "C118").collect();
    assert_eq!(blocking.len(), 1);
    assert!(blocking[0].text.contains("`$0` is signed by `ed25519:a`"), "{}", blocking[0].text);
}

#[tokio::test]
async fn old_and_further_keys_count() {
    let fixture = room(&[("old", OTHER), ("old", OTHER)]);
    let public = |config: &mut SynapseConfig| {
        config.signing_key = DumpSigningKey { version: "old".into(), seed: OTHER.into() };
        let key = keys(config).remove("ed25519:old").unwrap();
        Base64::<ruma::serde::base64::Standard, _>::new(key.as_bytes().to_vec()).encode()
    };
    let old = look(&fixture, |config| {
        let own = config.signing_key.clone();
        let public_key = public(config);
        config.signing_key = own;
        assert_eq!(config.signing_key.seed.expose_secret(), OURS);
        config.old_signing_keys =
            vec![DumpOldSigningKey { key_id: "ed25519:old".into(), public_key, expired_ts: 1 }];
    });
    assert_eq!(old.await, Some(found(2, 2, None)));
    let further = look(&fixture, |config| {
        config.further_signing_keys =
            vec![DumpSigningKey { version: "old".into(), seed: OTHER.into() }];
    });
    assert_eq!(further.await, Some(found(2, 2, None)));
}
