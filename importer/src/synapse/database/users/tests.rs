use serde_json::{Value, json};

use crate::{
    dump::{Extent, History},
    source::Source as _,
    synapse::database::{
        DatabaseSource,
        testing::{Fixture, NOW, Server, config, dumped, opened},
    },
    tally::Tally,
};

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

/// A device that was left out is there, on Synapse.
#[tokio::test]
async fn what_belongs_to_a_device_that_was_left_out_does_not_say_that_there_was_none() {
    let mut fixture = Fixture::new();
    for statement in [
        "INSERT INTO devices VALUES ('@alice:own.test', CAST('BLOB' AS BLOB), NULL, NULL, NULL, FALSE)",
        "INSERT INTO access_tokens VALUES (1, '@alice:own.test', 'BLOB', 't', NULL, NULL, NULL, NULL)",
        "INSERT INTO e2e_device_keys_json VALUES ('@alice:own.test', 'BLOB', '{}')",
        "INSERT INTO e2e_one_time_keys_json VALUES ('@alice:own.test', 'BLOB', 'a', 'b', '{}')",
        "INSERT INTO device_inbox VALUES ('@alice:own.test', 'BLOB', 7, '{}')",
    ] {
        fixture.sql(statement);
    }
    let directory = tempfile::tempdir().unwrap();
    let config = config(fixture.sqlite(directory.path()));
    let mut source = opened(&config).await;
    let mut tally = Tally::default();
    source.users(&mut tally).await.unwrap();
    source.user(&"@alice:own.test".try_into().unwrap(), &mut tally).await.unwrap();
    let told: Vec<_> = tally
        .skipped
        .iter()
        .filter(|skip| skip.kind != crate::tally::Kind::Device)
        .map(|skip| &*skip.detail)
        .collect();
    assert!(told.len() > 2, "{told:?}");
    let all =
        told.iter().all(|told| told.starts_with("its device does not exist, or was left out"));
    assert!(all, "{told:?}");
}

/// What of a user's logins is in the dump: administrator, password, tokens; and the reasons for what is not.
async fn logins(keep_expiring_tokens: bool, delegated: bool) -> (Value, Vec<String>) {
    let mut fixture = Fixture::new();
    for statement in [
        "UPDATE users SET password_hash = 'hash', admin = 1",
        "INSERT INTO devices VALUES ('@alice:own.test', 'A', NULL, NULL, NULL, FALSE)",
        "INSERT INTO devices VALUES ('@alice:own.test', 'B', NULL, NULL, NULL, FALSE)",
        "INSERT INTO devices VALUES ('@alice:own.test', 'C', NULL, NULL, NULL, FALSE)",
        "INSERT INTO devices VALUES ('@alice:own.test', 'D', NULL, NULL, NULL, FALSE)",
        // Refreshed once; the newest has expired and can be refreshed.
        "INSERT INTO refresh_tokens VALUES (1, '@alice:own.test', 'A', 'r1', 2, NULL, NULL)",
        "INSERT INTO refresh_tokens VALUES (2, '@alice:own.test', 'A', 'r2', NULL, NULL, NULL)",
        "INSERT INTO access_tokens VALUES (1, '@alice:own.test', 'A', 'a-older', 1800000000000, NULL, NULL, 1)",
        "INSERT INTO access_tokens VALUES (2, '@alice:own.test', 'A', 'a-newest', 1600000000000, NULL, NULL, 2)",
        // Its refresh token, or its session, is over.
        "INSERT INTO refresh_tokens VALUES (3, '@alice:own.test', 'B', 'r3', NULL, 1600000000000, NULL)",
        "INSERT INTO access_tokens VALUES (3, '@alice:own.test', 'B', 'b', 1800000000000, NULL, NULL, 3)",
        "INSERT INTO refresh_tokens VALUES (4, '@alice:own.test', 'C', 'r4', NULL, 1800000000000, 1600000000000)",
        "INSERT INTO access_tokens VALUES (4, '@alice:own.test', 'C', 'c', 1800000000000, NULL, NULL, 4)",
        // It lasts anyway.
        "INSERT INTO access_tokens VALUES (5, '@alice:own.test', 'D', 'd', NULL, NULL, NULL, NULL)",
    ] {
        fixture.sql(statement);
    }
    let directory = tempfile::tempdir().unwrap();
    let mut config = config(fixture.sqlite(directory.path()));
    config.delegated_auth = delegated;
    let extent = Extent { keep_expiring_tokens, ..Extent::FULL };
    let mut source = DatabaseSource::open(&config, extent, NOW).await.unwrap();
    let mut tally = Tally::default();
    source.users(&mut tally).await.unwrap();
    let user = source.user(&"@alice:own.test".try_into().unwrap(), &mut tally).await.unwrap();
    let user = serde_json::to_value(user).unwrap();
    let tokens: Vec<_> = user["devices"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|device| device["access_tokens"].as_array().cloned().unwrap_or_default())
        .map(|token| json!([token["token"], token["valid_until_ts"]]))
        .collect();
    let skipped = tally.skipped.iter().map(|skip| skip.reason.clone()).collect();
    (json!([user["admin"], user["password_hash"], tokens]), skipped)
}

#[tokio::test]
async fn sessions_of_a_backup_that_cannot_be_read_are_counted() {
    let mut fixture = Fixture::new();
    for statement in [
        "INSERT INTO e2e_room_keys_versions VALUES ('@alice:own.test', 2, 'm.new', 'no json', 0, 3)",
        "INSERT INTO e2e_room_keys VALUES ('@alice:own.test', '!r:own.test', 'a', 2, 1, 0, TRUE, '{}')",
        "INSERT INTO e2e_room_keys VALUES ('@alice:own.test', '!r:own.test', 'b', 2, 1, 0, TRUE, '{}')",
    ] {
        fixture.sql(statement);
    }
    let dump = fixture.dump(History::Full).await;
    assert_eq!(dump.users[0].get("key_backups"), None);
    let reasons: Vec<_> =
        dump.skipped.iter().map(|(_, item, reason)| (&**item, &**reason)).collect();
    let version = "@alice:own.test version 2";
    assert_eq!(reasons, [("@alice:own.test 2", "json-invalid"), (version, "backup-left-out")]);
    let sessions = dump.census.tables.iter().find(|table| table.table == "e2e_room_keys").unwrap();
    assert_eq!((sessions.left_out["backup-left-out"], sessions.unaccounted), (2, 0));
}

#[tokio::test]
async fn tokens_that_can_be_refreshed_last_if_asked_for() {
    let until = 1_800_000_000_000_u64;
    let usual =
        json!([true, "hash", [["a-older", until], ["b", until], ["c", until], ["d", null]]]);
    assert_eq!(logins(false, false).await, (usual, vec!["token-expired".to_owned()]));
    let kept = json!([
        true,
        "hash",
        [["a-older", until], ["a-newest", null], ["b", until], ["c", until], ["d", null]]
    ]);
    assert_eq!(logins(true, false).await, (kept, vec![]));
}

#[tokio::test]
async fn with_logins_elsewhere_nothing_of_before_is_live() {
    for keeping in [false, true] {
        let (user, skipped) = logins(keeping, true).await;
        assert_eq!((&user[1], &user[2]), (&Value::Null, &json!([])));
        assert!(!user[0].as_bool().unwrap_or(false));
        assert_eq!(skipped, ["login-elsewhere"; 6]);
    }
}

#[tokio::test]
async fn the_first_deltas_of_schema_72_are_enough() {
    let mut fixture = Fixture::new();
    fixture.sql("UPDATE schema_version SET version = 72");
    for (table, column) in [
        ("receipts_linearized", "thread_id"),
        ("receipts_linearized", "event_stream_ordering"),
        ("event_push_summary", "thread_id"),
        ("event_push_summary", "last_receipt_stream_ordering"),
        ("event_push_actions", "thread_id"),
    ] {
        fixture.sql(&format!("ALTER TABLE {table} DROP COLUMN {column}"));
    }
    for statement in [
        "INSERT INTO local_current_membership VALUES ('!r:own.test', '@alice:own.test', '$join', 'join')",
        "INSERT INTO events VALUES (5, 1, '$join', 'm.room.member', '!r:own.test', FALSE, 1, '@alice:own.test')",
        "INSERT INTO receipts_linearized VALUES (1, '!r:own.test', 'm.read', '@alice:own.test', '$join', '{\"ts\":4}')",
        "INSERT INTO event_push_summary VALUES ('@alice:own.test', '!r:own.test', 7, 50, 0)",
        "INSERT INTO event_push_actions VALUES ('!r:own.test', '$e', '@alice:own.test', 60, 1, 1)",
    ] {
        fixture.sql(statement);
    }
    let expected = json!([
        [{"room_id": "!r:own.test", "receipt_type": "m.read", "event_id": "$join", "ts": 4}],
        [{"room_id": "!r:own.test", "notifications": 8, "highlights": 1}],
    ]);
    let user = fixture.dump(History::Recent).await.users.remove(0);
    assert_eq!(json!([user["receipts"], user["unread"]]), expected);
    let Some(server) = Server::start() else { return };
    let config = config(fixture.postgres(&server).await);
    let user = dumped(&config, History::Recent).await.users.remove(0);
    assert_eq!(json!([user["receipts"], user["unread"]]), expected);
}
