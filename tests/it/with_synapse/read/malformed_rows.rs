//! What nobody expects in a Synapse's database moves as it is, or is left out with a reason: through the command, from the
//! database to Conduit's rows, verified.

use std::{collections::BTreeSet, fs};

use importer::dump::DumpReader;
use migration_tests::{
    command::{self, Run},
    lab::Lab,
};
use rusqlite::Connection;
use serde_json::{Value, json};

const EVE: &str = "@eve:family.test";
const SESSIONS: usize = 100_000;
/// A signature of five bytes, which should have 64.
const SHORT: &str = "c2hvcnQ";

/// A device id of 300 bytes.
fn long() -> String {
    "L".repeat(300)
}

/// Account data of 2 MB.
fn large() -> String {
    "ü".repeat(1_000_000)
}

/// Puts what is unexpected into the database; gives the event whose signature is too short.
fn change(lab: &Lab) -> String {
    let database = Connection::open(lab.path("homeserver.db")).unwrap();
    let folder = lab.path("media/remote_content/far.test/AA/bb");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("Kept"), "far").unwrap();
    let (long, large) = (long(), large());
    let keys = json!({
        "user_id": EVE, "device_id": long, "algorithms": [], "keys": {format!("ed25519:{long}"): "public"},
        "signatures": {EVE: {format!("ed25519:{long}"): SHORT}},
    });
    let message = json!({"type": "test.waits", "sender": EVE, "content": {}});
    database
        .execute_batch(&format!(
            r#"
            INSERT INTO devices (user_id, device_id, display_name, hidden) VALUES ('{EVE}', '{long}', 'Long', 0);
            INSERT INTO access_tokens (id, user_id, device_id, token) VALUES (900001, '{EVE}', '{long}', 'syt_long');
            INSERT INTO e2e_device_keys_json (user_id, device_id, ts_added_ms, key_json) VALUES ('{EVE}', '{long}', 1, '{keys}');
            INSERT INTO device_inbox (user_id, device_id, stream_id, message_json) VALUES ('{EVE}', '{long}', 900001, '{message}');
            INSERT INTO account_data (user_id, account_data_type, stream_id, content) VALUES
                ('{EVE}', 'test.large', 900001, '{{"text":"{large}"}}'), ('{EVE}', 'test.broken', 900002, '{{');
            UPDATE e2e_cross_signing_signatures SET signature = '{SHORT}' WHERE target_user_id = '@ada:family.test';
            INSERT INTO e2e_room_keys_versions (user_id, version, algorithm, auth_data, deleted, etag)
                VALUES ('{EVE}', 7, 'm.megolm_backup.v1', '{{}}', 0, 5);
            WITH RECURSIVE numbers(number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM numbers WHERE number < {SESSIONS})
                INSERT INTO e2e_room_keys (user_id, room_id, session_id, version, first_message_index, forwarded_count, is_verified, session_data)
                SELECT '{EVE}', '!any:family.test', 'session ' || number, 7, 0, 0, TRUE, '{{}}' FROM numbers;
            INSERT INTO push_rules (id, user_name, rule_id, priority_class, priority, conditions, actions) VALUES
                (900001, '{EVE}', 'global/override/no.json', 5, 0, '[{{', '[]'),
                (900002, '{EVE}', 'global/override/no.list', 5, 1, '{{}}', '[]'),
                (900003, '{EVE}', 'global/nothing/no.class', 99, 0, '[]', '[]'),
                (900004, '{EVE}', 'global/override/no.word', 5, 2, '[{{"kind":"event_match","key":7}}]', '["notify"]'),
                (900005, '{EVE}', 'global/override/good', 5, 3, '[]', '["notify"]');
            INSERT INTO local_media_repository (media_id, media_type, media_length, created_ts, upload_name, user_id)
                VALUES ('../../../../../etc/passwd', 'text/plain', 3, 5, 'x', '{EVE}');
            INSERT INTO remote_media_cache (media_origin, media_id, media_type, created_ts, upload_name, media_length, filesystem_id, last_access_ts)
                VALUES ('far.test', 'climbs', 'text/plain', 5, 'x', 3, '../../../../../etc/passwd', 5),
                       ('far.test', 'kept', 'text/plain', 5, 'far.txt', 3, 'AAbbKept', 5);
            UPDATE local_media_repository SET upload_name = 'a' || char(7, 10, 13, 27, 8238) || 'z' WHERE upload_name = 'Grüße.txt';
            "#
        ))
        .unwrap();
    // Rooms of versions 1 and 2, whose ids name a server, can't move.
    let sql = "SELECT event_id, json FROM event_json JOIN events USING (event_id) \
               WHERE type = 'm.room.message' AND sender = '@ben:family.test' \
               AND event_id NOT LIKE '%:%' ORDER BY event_id LIMIT 1";
    let columns =
        |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?));
    let (id, event) = database.query_row(sql, [], columns).unwrap();
    let mut event: Value = serde_json::from_str(&event).unwrap();
    for signature in event["signatures"]["family.test"].as_object_mut().unwrap().values_mut() {
        *signature = SHORT.into();
    }
    let sql = "UPDATE event_json SET json = ?1 WHERE event_id = ?2";
    assert_eq!(database.execute(sql, [&event.to_string(), &id]).unwrap(), 1);
    database.close().unwrap();
    id
}

/// Migrates; gives what was printed, and the rows of some trees.
fn migrated(lab: &Lab, name: &str) -> (Value, impl Fn(&str) -> Vec<Value>) {
    let database = lab.path(name).to_str().unwrap().to_owned();
    let arguments = ["--accept", "C301", "--remote-media", "--database", &database];
    let config = ["migrate", "--synapse-config", lab.note("config")];
    let outcome = command::run(config.iter().chain(&arguments)).unwrap().json().unwrap();
    let dump = format!("{database}.dump");
    let verify = ["verify", "--dump", &dump, "--database", &database];
    let again = command::run(verify).unwrap().json().unwrap();
    assert_eq!(verified(&outcome), verified(&again));
    let rows = move |tree: &str| {
        let inspect = ["inspect", "--secrets", "--database", &database, tree];
        let Run { code: 0, out, .. } = command::run(inspect).unwrap() else { panic!("{tree}") };
        out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    (outcome, rows)
}

/// What `verify` found, but for notes.
fn verified(outcome: &Value) -> BTreeSet<String> {
    let findings = outcome["findings"].as_array().unwrap().iter();
    let findings = findings.filter(|finding| finding["severity"] != "note");
    let text =
        |finding: &Value| format!("{} {}", finding["code"].as_str().unwrap(), finding["subject"]);
    findings.map(text).filter(|text| text.starts_with('V')).collect()
}

/// What was left out by dump and import.
fn left_out(outcome: &Value) -> BTreeSet<String> {
    let skips = [&outcome["dumped"], &outcome["tally"]];
    let skips = skips.into_iter().flat_map(|tally| tally["skipped"].as_array().unwrap());
    skips
        .map(|skip| {
            let [kind, item, reason] =
                ["kind", "item", "reason"].map(|name| skip[name].as_str().unwrap());
            format!("{kind} {item}: {reason}")
        })
        .collect()
}

#[test]
fn what_nobody_expects_moves_or_is_named() {
    let lab = Lab::stopped().unwrap();
    let (before, _) = migrated(&lab, "before");
    assert_eq!(verified(&before), BTreeSet::new());
    let event = change(&lab);
    let (after, rows) = migrated(&lab, "after");

    let more_left_out: Vec<_> = left_out(&after).difference(&left_out(&before)).cloned().collect();
    assert_eq!(
        more_left_out,
        [
            "account-data @eve:family.test global/nothing/no.class: push-rule-invalid",
            "account-data @eve:family.test global/override/no.json: json-invalid",
            "account-data @eve:family.test global/override/no.list: push-rule-invalid",
            "account-data @eve:family.test test.broken: json-invalid",
            "account-data push rule no.word of @eve:family.test: push-rule-refused",
            "media ../../../../../etc/passwd: media-id-invalid",
            "remote-media climbs: media-id-invalid",
        ]
    );
    // Its id is the hash of everything else, so it is the event that other servers know.
    assert_eq!(verified(&after), BTreeSet::from([format!("V109 \"{event}\"")]));

    let long = long();
    let find = |tree: &str, name: &str, value: &str| {
        let mut found = rows(tree).into_iter().filter(|row| row["key"][name] == value);
        let row = found.next().unwrap_or_else(|| panic!("no {value} in {tree}"));
        assert_eq!(found.count(), 0, "{value} in {tree}");
        row["value"]["json"].clone()
    };
    assert_eq!(find("userdeviceid_metadata", "device", &long)["display_name"], "Long");
    let keys = find("keyid_key", "key", &long);
    assert_eq!(keys["signatures"], json!({EVE: {format!("ed25519:{long}"): SHORT}}));
    assert_eq!(find("todeviceid_events", "device", &long)["type"], "test.waits");
    let account_data = find("roomuserdataid_accountdata", "type", "test.large");
    assert_eq!(account_data["content"], json!({"text": large()}));
    let pdus = rows("pduid_pdu").into_iter().map(|row| row["value"]["json"].clone());
    let spoilt: Vec<_> = pdus.filter(|pdu| pdu["event_id"] == event).collect();
    assert_eq!(spoilt[0]["signatures"]["family.test"]["ed25519:lab1"], SHORT);

    let rules = rows("roomuserdataid_accountdata");
    let eves = |row: &&Value| row["key"]["user"] == EVE && row["key"]["type"] == "m.push_rules";
    let rules = rules.iter().find(eves).unwrap().to_string();
    assert!(rules.contains("\"rule_id\":\"good\"") && !rules.contains("no.word"), "{rules}");
    let names = rows("servernamemediaid_metadata");
    let names: Vec<_> = names.iter().filter_map(|row| row["value"]["filename"].as_str()).collect();
    assert!(names.contains(&"a\u{7}\n\r\u{1b}\u{202e}z"), "{names:?}");
    let kept = rows("servernamemediaid_metadata")
        .into_iter()
        .filter(|row| row["key"]["server"] == "far.test");
    let kept: Vec<_> = kept.map(|row| row["value"]["filename"].clone()).collect();
    assert_eq!(kept, ["far.txt"]);
    let by_ada =
        |row: &Value| row["key"]["user"] == "@ada:family.test" && row.to_string().contains(SHORT);
    assert_eq!(rows("keyid_key").into_iter().filter(by_ada).count(), 1);
    let sessions = rows("backupkeyid_backup").into_iter().filter(|row| row["key"]["user"] == EVE);
    assert_eq!(sessions.count(), SESSIONS);
}

/// Changes the states of a room; gives what the import says of them. `NAMED` in the changes are rows of its name, `MESSAGE` is
/// a message's id.
fn misnamed(changes: &[&str]) -> Vec<Value> {
    let lab = Lab::stopped().unwrap();
    let database = Connection::open(lab.path("homeserver.db")).unwrap();
    let room: String = database
        .query_row(
            "SELECT c.room_id FROM current_state_events c JOIN rooms r ON r.room_id = c.room_id AND r.room_version = '11' \
             JOIN events e ON e.room_id = c.room_id AND e.type = 'm.room.message' \
             WHERE c.type = 'm.room.name' GROUP BY c.room_id ORDER BY COUNT(*) DESC, c.room_id LIMIT 1",
            [],
            |row| row.get(0),
        )
        .unwrap();
    let message = format!(
        "(SELECT MAX(event_id) FROM events WHERE type = 'm.room.message' AND room_id = '{room}')"
    );
    let named = format!("type = 'm.room.name' AND room_id = '{room}'");
    for change in changes {
        let sql = change.replace("NAMED", &named).replace("MESSAGE", &message);
        assert!(database.execute(&sql, []).unwrap() > 0, "{sql}");
    }
    drop(database);
    let (outcome, _) = migrated(&lab, "misnamed");
    // The state before the next event is then not the one after the name's.
    let errors: Vec<_> =
        verified(&outcome).into_iter().filter(|found| !found.starts_with("V118 ")).collect();
    assert_eq!(errors, [""; 0], "{changes:?}");
    let findings = outcome["findings"].as_array().unwrap().iter();
    let told = findings.filter(|finding| finding["code"] == "I008").cloned();
    told.inspect(|finding| assert_eq!(finding["subject"], room.as_str())).collect()
}

#[test]
fn an_event_that_a_state_names_for_another_key_is_left_out_of_the_state() {
    let wrong = "UPDATE state_groups_state SET event_id = MESSAGE WHERE NAMED";
    assert_eq!(misnamed(&[wrong]).len(), 1);
    // Of two rows for the key, either may be taken.
    let twice = "INSERT INTO state_groups_state (state_group, room_id, type, state_key, event_id) \
                 SELECT state_group, room_id, type, state_key, MESSAGE FROM state_groups_state WHERE NAMED";
    let right_last = "INSERT INTO state_groups_state (state_group, room_id, type, state_key, event_id) \
                      SELECT state_group, room_id, type, state_key, (SELECT event_id FROM current_state_events WHERE NAMED) \
                      FROM state_groups_state WHERE NAMED";
    let told = [misnamed(&[twice]), misnamed(&[wrong, right_last])].concat();
    assert!(told.len() <= 1, "{told:?}");
}

/// What users have read and what they have not, in a dump.
fn read_marks(lab: &Lab, name: &str) -> Vec<Value> {
    let dump = lab.path(name);
    command::dump(&lab.by_database(), &dump).unwrap();
    let reader = DumpReader::open(&dump, |_| {}).unwrap();
    let users = reader.users().map(|user| serde_json::to_value(user.unwrap()).unwrap());
    users.map(|user| json!([user["user_id"], user["receipts"], user["unread"]])).collect()
}

#[test]
fn schema_72_as_synapse_before_1_68_left_it_is_read() {
    let lab = Lab::stopped().unwrap();
    let database = Connection::open(lab.path("homeserver.db")).unwrap();
    let without = "PRAGMA foreign_keys = off; DELETE FROM receipts_linearized WHERE thread_id IS NOT NULL; \
                   DELETE FROM event_push_summary WHERE thread_id <> 'main'; \
                   DELETE FROM event_push_actions WHERE thread_id <> 'main'";
    database.execute_batch(without).unwrap();
    let before = read_marks(&lab, "before");
    assert!(
        before.iter().any(|user| user[1].is_array())
            && before.iter().any(|user| user[2].is_array())
    );
    // These came with 72/03 to 72/07 of Synapse 1.68.
    for (table, columns) in [
        ("receipts_linearized", ["thread_id", "event_stream_ordering"].as_slice()),
        ("receipts_graph", &["thread_id"]),
        ("event_push_summary", &["thread_id", "last_receipt_stream_ordering"]),
        ("event_push_actions", &["thread_id"]),
        ("event_push_actions_staging", &["thread_id"]),
    ] {
        database
            .execute_batch(&format!(
                "CREATE TABLE old AS SELECT * FROM {table}; DROP TABLE {table}; ALTER TABLE old RENAME TO {table}"
            ))
            .unwrap();
        for column in columns {
            database.execute_batch(&format!("ALTER TABLE {table} DROP COLUMN {column}")).unwrap();
        }
    }
    let deltas = "DELETE FROM applied_schema_deltas WHERE version > 72 OR file GLOB '72/0[3-9]*'; \
                  UPDATE schema_version SET version = 72";
    database.execute_batch(deltas).unwrap();
    drop(database);
    assert_eq!(read_marks(&lab, "after"), before);
    let (outcome, _) = migrated(&lab, "moved");
    assert_eq!(verified(&outcome), BTreeSet::new());
}
