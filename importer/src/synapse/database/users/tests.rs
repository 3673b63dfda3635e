use serde_json::{Value, json};

use crate::synapse::{History, database::testing::Fixture};

/// One user with everything that a user can have, and everything that must be left out.
pub(in crate::synapse::database) fn everything(fixture: &mut Fixture) {
    for statement in [
        "UPDATE users SET password_hash = '$2b$12$hash', admin = 1, approved = TRUE, consent_version = '1' WHERE name = '@alice:own.test'",
        "INSERT INTO users (name, password_hash, creation_ts, is_guest, appservice_id, user_type, deactivated, shadow_banned, approved, locked, suspended) VALUES ('@ghost:own.test', '', 0, 1, 'bridge', 'bot', 1, TRUE, FALSE, TRUE, TRUE)",
        "INSERT INTO erased_users VALUES ('@ghost:own.test')",
        "INSERT INTO users (name) VALUES ('@mallory:foreign.test')",
        "INSERT INTO users (name) VALUES ('no id')",
        "INSERT INTO profiles VALUES ('alice', 'Alice', 'mxc://own.test/a', '{\"org.pronouns\": [1.5]}')",
        "INSERT INTO user_threepids VALUES ('@alice:own.test', 'email', 'a@x.test', 1, 2)",
        "INSERT INTO user_external_ids VALUES ('oidc-x', 'sub', '@alice:own.test')",
        "INSERT INTO account_data VALUES ('@alice:own.test', 'm.direct', '{\"@bob:own.test\":[\"!r:own.test\"]}')",
        "INSERT INTO account_data VALUES ('@alice:own.test', 'org.empty', '{}')",
        "INSERT INTO account_data VALUES ('@alice:own.test', 'org.broken', '{')",
        "INSERT INTO room_account_data VALUES ('@alice:own.test', '!r:own.test', 'm.fully_read', '{\"event_id\":\"$x\"}')",
        "INSERT INTO room_account_data VALUES ('@alice:own.test', 'no room', 'm.fully_read', '{}')",
        "INSERT INTO room_tags VALUES ('@alice:own.test', '!r:own.test', 'm.favourite', '{\"order\":0.25}')",
        "INSERT INTO push_rules VALUES ('@alice:own.test', 'global/content/broken', 4, 0, '[]', '[]')",
        "INSERT INTO push_rules_enable VALUES ('@alice:own.test', 'global/override/.m.rule.master', 1)",
        "INSERT INTO devices VALUES ('@alice:own.test', 'PHONE', 'Phone', 5, '::1', FALSE)",
        "INSERT INTO devices VALUES ('@alice:own.test', 'DEHYDRATED', NULL, NULL, NULL, NULL)",
        "INSERT INTO devices VALUES ('@alice:own.test', 'MasterPublic', 'master signing key', NULL, NULL, TRUE)",
        "INSERT INTO dehydrated_devices VALUES ('@alice:own.test', 'DEHYDRATED', '{\"algorithm\":\"m.dehydration\"}')",
        "INSERT INTO access_tokens VALUES (1, '@alice:own.test', 'PHONE', 'syt_old', NULL, NULL, 7, NULL)",
        "INSERT INTO access_tokens VALUES (2, '@alice:own.test', 'PHONE', 'syt_new', 1700000000001, NULL, NULL, 3)",
        "INSERT INTO access_tokens VALUES (3, '@alice:own.test', 'PHONE', 'syt_expired', 1700000000000, NULL, NULL, NULL)",
        "INSERT INTO access_tokens VALUES (4, '@alice:own.test', NULL, 'syt_puppet', NULL, '@bob:own.test', NULL, NULL)",
        "INSERT INTO access_tokens VALUES (5, '@alice:own.test', NULL, 'syt_nodevice', NULL, NULL, NULL, NULL)",
        "INSERT INTO pushers VALUES ('@alice:own.test', 'app', 'key', 'http', 'App', 'Phone', '', 'en', '{\"url\":\"https://push.test\"}', NULL, 'PHONE')",
        "INSERT INTO pushers VALUES ('@alice:own.test', 'broken', 'key', 'http', 'App', 'Phone', '', 'en', NULL, FALSE, NULL)",
        "INSERT INTO user_filters VALUES ('alice', 0, CAST('{\"room\":{}}' AS BYTES))",
        "INSERT INTO e2e_device_keys_json VALUES ('@alice:own.test', 'PHONE', '{\"signatures\":{\"@alice:own.test\":{\"ed25519:PHONE\":\"own\"}}}')",
        "INSERT INTO e2e_device_keys_json VALUES ('@alice:own.test', 'GONE', '{}')",
        "INSERT INTO e2e_cross_signing_keys VALUES ('@alice:own.test', 'master', '{\"keys\":{\"ed25519:Old\":\"Old\"}}', 1)",
        "INSERT INTO e2e_cross_signing_keys VALUES ('@alice:own.test', 'master', '{\"keys\":{\"ed25519:MasterPublic\":\"MasterPublic\"}}', 2)",
        "INSERT INTO e2e_cross_signing_keys VALUES ('@alice:own.test', 'self_signing', '{}', 3)",
        "INSERT INTO e2e_cross_signing_signatures VALUES ('@alice:own.test', 'ed25519:SelfPublic', '@alice:own.test', 'PHONE', 'self')",
        "INSERT INTO e2e_cross_signing_signatures VALUES ('@alice:own.test', 'ed25519:PHONE', '@alice:own.test', 'MasterPublic', 'phone')",
        "INSERT INTO e2e_cross_signing_signatures VALUES ('@bob:own.test', 'ed25519:BobUser', '@alice:own.test', 'MasterPublic', 'bob')",
        "INSERT INTO e2e_cross_signing_signatures VALUES ('@alice:own.test', 'ed25519:AliceUser', '@bob:own.test', 'BobMaster', 'alice')",
        "INSERT INTO e2e_cross_signing_signatures VALUES ('@alice:own.test', 'ed25519:AliceUser', '@bob:own.test', 'BobOld', 'old')",
        "INSERT INTO e2e_cross_signing_signatures VALUES ('@alice:own.test', 'ed25519:AliceUser', '@dora:away.test', 'DoraMaster', 'dora')",
        "INSERT INTO e2e_cross_signing_keys VALUES ('@bob:own.test', 'master', '{\"keys\":{\"ed25519:BobMaster\":\"BobMaster\"},\"signatures\":{\"@bob:own.test\":{\"ed25519:B\":\"b\"}}}', 4)",
        "INSERT INTO e2e_cross_signing_keys VALUES ('@dora:away.test', 'master', '{\"keys\":{\"ed25519:DoraMaster\":\"DoraMaster\"}}', 5)",
        "INSERT INTO e2e_one_time_keys_json VALUES ('@alice:own.test', 'PHONE', 'signed_curve25519', 'AAAA', '{\"key\":\"k\"}')",
        "INSERT INTO e2e_fallback_keys_json VALUES ('@alice:own.test', 'PHONE', 'signed_curve25519', 'FFFF', '{\"key\":\"f\"}', TRUE)",
        "INSERT INTO device_inbox VALUES ('@alice:own.test', 'PHONE', 9, '{\"type\":\"second\"}')",
        "INSERT INTO device_inbox VALUES ('@alice:own.test', 'PHONE', 8, '{\"type\":\"first\"}')",
        "INSERT INTO device_inbox VALUES ('@alice:own.test', 'GONE', 7, '{}')",
        "INSERT INTO device_lists_stream VALUES (11, '@alice:own.test')",
        "INSERT INTO device_lists_outbound_pokes VALUES (12, '@bob:own.test', 'away.test')",
        "INSERT INTO e2e_room_keys_versions VALUES ('@alice:own.test', 1, 'm.old', '{}', 1, NULL)",
        "INSERT INTO e2e_room_keys_versions VALUES ('@alice:own.test', 2, 'm.new', '{\"public_key\":\"p\"}', 0, 3)",
        "INSERT INTO e2e_room_keys VALUES ('@alice:own.test', 'any room', 'any session', 2, 1, 0, TRUE, '{\"c\":1}')",
        "INSERT INTO receipts_linearized VALUES (1, '!r:own.test', 'm.read', '@alice:own.test', '$x', '{\"ts\":4}', NULL, NULL)",
        "INSERT INTO receipts_linearized VALUES (2, '!r:own.test', 'm.read.private', '@alice:own.test', '$y', '{\"ts\":5}', NULL, 'main')",
        "INSERT INTO receipts_linearized VALUES (3, '!r:own.test', 'm.seen', '@alice:own.test', '$y', '{\"ts\":5}', NULL, NULL)",
        "INSERT INTO receipts_linearized VALUES (4, '!q:own.test', 'm.read', '@alice:own.test', '$y', '{}', NULL, NULL)",
    ] {
        fixture.sql(statement);
    }
}

/// The user without push rules, which have tests of their own.
fn without_rules(user: &Value) -> Value {
    let mut user = user.clone();
    assert!(user["push_rules"]["global"]["override"][0]["rule_id"] == ".m.rule.master");
    user.as_object_mut().unwrap().remove("push_rules");
    user
}

#[tokio::test]
async fn a_user_is_dumped_with_all_it_owns() {
    let mut fixture = Fixture::new();
    everything(&mut fixture);
    let dump = fixture.dump(History::Recent).await;
    assert_eq!(
        dump.users.iter().map(without_rules).collect::<Vec<_>>(),
        [
            json!({
                "user_id": "@alice:own.test", "admin": true, "created_ts": 1_600_000_000_000_u64,
                "password_hash": "$2b$12$hash", "consent_version": "1",
                "profile": {"displayname": "Alice", "avatar_url": "mxc://own.test/a", "fields": {"org.pronouns": [1.5]}},
                "threepids": [{"medium": "email", "address": "a@x.test", "validated_ts": 1, "added_ts": 2}],
                "external_ids": [{"auth_provider": "oidc-x", "external_id": "sub"}],
                "account_data": {
                    "global": {"m.direct": {"@bob:own.test": ["!r:own.test"]}, "org.empty": {}},
                    "rooms": {"!r:own.test": {
                        "m.fully_read": {"event_id": "$x"},
                        "m.tag": {"tags": {"m.favourite": {"order": 0.25}}},
                    }},
                },
                "devices": [
                    {"device_id": "DEHYDRATED", "dehydrated": true, "dehydrated_data": {"algorithm": "m.dehydration"}},
                    {
                        "device_id": "PHONE", "display_name": "Phone", "last_seen_ts": 5, "last_seen_ip": "::1",
                        "access_tokens": [
                            {"token": "syt_old", "last_used_ts": 7},
                            {"token": "syt_new", "valid_until_ts": 1_700_000_000_001_u64, "refreshable": true},
                        ],
                        "keys": {"signatures": {"@alice:own.test": {"ed25519:PHONE": "own", "ed25519:SelfPublic": "self"}}},
                        "one_time_keys": {"signed_curve25519:AAAA": {"key": "k"}},
                        "fallback_keys": {"signed_curve25519:FFFF": {"key": {"key": "f"}, "used": true}},
                    },
                ],
                "pushers": [{
                    "pushkey": "key", "app_id": "app", "kind": "http", "app_display_name": "App",
                    "device_display_name": "Phone", "profile_tag": "", "lang": "en",
                    "data": {"url": "https://push.test"}, "enabled": true, "device_id": "PHONE",
                }],
                "filters": {"0": {"room": {}}},
                "cross_signing_keys": {"master": {
                    "keys": {"ed25519:MasterPublic": "MasterPublic"},
                    "signatures": {"@alice:own.test": {"ed25519:PHONE": "phone"}},
                }},
                "signed_keys": {
                    "@bob:own.test": {
                        "keys": {"ed25519:BobMaster": "BobMaster"},
                        "signatures": {"@alice:own.test": {"ed25519:AliceUser": "alice"}},
                    },
                    "@dora:away.test": {
                        "keys": {"ed25519:DoraMaster": "DoraMaster"},
                        "signatures": {"@alice:own.test": {"ed25519:AliceUser": "dora"}},
                    },
                },
                "device_list_stream_id": 12,
                "key_backups": [{
                    "version": "2", "algorithm": "m.new", "auth_data": {"public_key": "p"}, "etag": "3",
                    "rooms": {"any room": {"any session": {
                        "first_message_index": 1, "forwarded_count": 0, "is_verified": true, "session_data": {"c": 1},
                    }}},
                }],
                "messages": [{"device_id": "PHONE", "message": {"type": "first"}}, {"device_id": "PHONE", "message": {"type": "second"}}],
                "receipts": [
                    {"room_id": "!r:own.test", "receipt_type": "m.read", "event_id": "$x", "ts": 4},
                    {"room_id": "!r:own.test", "thread_id": "main", "receipt_type": "m.read.private", "event_id": "$y", "ts": 5},
                ],
            }),
            json!({
                "user_id": "@ghost:own.test", "deactivated": true, "erased": true, "guest": true, "locked": true,
                "suspended": true, "shadow_banned": true, "awaiting_approval": true, "user_type": "bot",
                "appservice_id": "bridge", "created_ts": 0, "profile": {}, "account_data": {},
                "device_list_stream_id": 12,
            }),
        ]
    );
    let skipped: Vec<_> = dump
        .skipped
        .iter()
        .map(|(kind, item, reason)| (kind.as_str(), item.as_str(), reason.as_str()))
        .collect();
    assert_eq!(
        skipped,
        [
            ("user", "@mallory:foreign.test", "foreign-user"),
            ("user", "no id", "id-invalid"),
            ("access-token", "@alice:own.test token 3", "token-expired"),
            ("access-token", "@alice:own.test token 4", "login-as-token"),
            ("access-token", "@alice:own.test token 5", "token-without-device"),
            ("device-keys", "@alice:own.test GONE", "device-missing"),
            ("cross-signing-key", "@alice:own.test self_signing", "keys-invalid"),
            ("cross-signing-key", "@bob:own.test", "owner-missing"),
            ("key-signature", "@alice:own.test @bob:own.test", "key-replaced"),
            ("key-signature", "@bob:own.test", "owner-missing"),
            ("to-device-message", "@alice:own.test GONE", "device-missing"),
            ("account-data", "@alice:own.test global/content/broken", "push-rule-invalid"),
            ("account-data", "@alice:own.test org.broken", "json-invalid"),
            ("room-account-data", "@alice:own.test m.fully_read", "id-invalid"),
            ("pusher", "@alice:own.test broken", "json-invalid"),
            ("receipt", "@alice:own.test $y", "json-invalid"),
            ("receipt", "@alice:own.test $y", "receipt-type-unknown"),
        ]
    );
}

#[tokio::test]
async fn messages_are_grouped_by_device_and_oldest_first() {
    let mut fixture = Fixture::new();
    for device in ["B", "a", "Ä"] {
        fixture.sql(&format!(
            "INSERT INTO devices VALUES ('@alice:own.test', '{device}', NULL, NULL, NULL, NULL)"
        ));
    }
    for (id, device) in [(3, "a"), (1, "B"), (2, "a"), (4, "B"), (5, "Ä"), (10, "a")] {
        fixture.sql(&format!(
            "INSERT INTO device_inbox VALUES ('@alice:own.test', '{device}', {id}, '[{id},\n1]')"
        ));
    }
    let dump = fixture.dump(History::Recent).await;
    let message = |device, id| json!({"device_id": device, "message": [id, 1]});
    assert_eq!(
        dump.users[0]["messages"],
        json!([
            message("B", 1),
            message("B", 4),
            message("a", 2),
            message("a", 3),
            message("a", 10),
            message("Ä", 5),
        ])
    );
}

#[tokio::test]
async fn what_an_older_schema_lacks_has_its_default() {
    let mut fixture = Fixture::new();
    for (table, column) in [
        ("users", "approved"),
        ("users", "locked"),
        ("users", "suspended"),
        ("profiles", "fields"),
        ("pushers", "enabled"),
        ("pushers", "device_id"),
    ] {
        fixture.sql(&format!("ALTER TABLE {table} DROP COLUMN {column}"));
    }
    for statement in [
        "DROP TABLE room_ban_redactions",
        "UPDATE schema_version SET version = 72",
        "INSERT INTO profiles VALUES ('alice', 'Alice', NULL)",
        "INSERT INTO pushers VALUES ('@alice:own.test', 'app', 'key', 'http', 'App', 'Phone', '', 'en', '{}')",
        "INSERT INTO receipts_linearized VALUES (1, '!r:own.test', 'm.read', '@alice:own.test', '$x', '{\"ts\":4}', NULL, NULL)",
    ] {
        fixture.sql(statement);
    }
    let dump = fixture.dump(History::Recent).await;
    assert_eq!(
        dump.users.iter().map(without_rules).collect::<Vec<_>>(),
        [json!({
            "user_id": "@alice:own.test", "created_ts": 1_600_000_000_000_u64,
            "profile": {"displayname": "Alice"}, "account_data": {},
            "pushers": [{
                "pushkey": "key", "app_id": "app", "kind": "http", "app_display_name": "App",
                "device_display_name": "Phone", "profile_tag": "", "lang": "en", "data": {}, "enabled": true,
            }],
            "receipts": [{"room_id": "!r:own.test", "receipt_type": "m.read", "event_id": "$x", "ts": 4}],
        })]
    );
    assert_eq!(dump.skipped, []);
}
