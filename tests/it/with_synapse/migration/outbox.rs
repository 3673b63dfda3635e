//! What Synapse had not delivered when it stopped waits in Conduit's queues: from the database to Conduit's rows, verified.

use migration_tests::{
    command::{self, Run},
    lab::Lab,
};
use rusqlite::Connection;
use serde_json::{Value, json};

/// Makes the other server of the story one that has not heard of anything since, and gives it a message.
fn silence(lab: &Lab) -> String {
    let database = Connection::open(lab.path("homeserver.db")).unwrap();
    let server: String = database
        .query_row("SELECT destination FROM destination_rooms ORDER BY 1 LIMIT 1", [], |row| {
            row.get(0)
        })
        .unwrap();
    let message = json!({
        "sender": "@ada:family.test", "type": "m.room.encrypted", "message_id": "waits",
        "messages": {format!("@somebody:{server}"): {"PHONE": {"ciphertext": "x"}}},
    });
    database
        .execute_batch(&format!(
            "UPDATE destinations SET last_successful_stream_ordering = 1 WHERE destination = '{server}';
             INSERT INTO device_federation_outbox (destination, stream_id, queued_ts, messages_json)
                 VALUES ('{server}', 900001, 0, '{message}');
             INSERT INTO device_lists_outbound_pokes (destination, stream_id, user_id, device_id, sent, ts)
                 VALUES ('{server}', 900001, '@ada:family.test', 'D', 0, 0);"
        ))
        .unwrap();
    server
}

#[test]
fn what_waits_for_other_servers_and_bridges_is_in_conduits_queues() {
    let lab = Lab::stopped().unwrap();
    let server = silence(&lab);
    let database = lab.path("moved").to_str().unwrap().to_owned();
    let config = lab.note("config");
    let migrate =
        ["migrate", "--synapse-config", config, "--accept", "C301", "--database", &database];
    let outcome = command::run(migrate).unwrap().json().unwrap();
    let findings = outcome["findings"].as_array().unwrap();
    let severe: Vec<_> = findings.iter().filter(|f| f["severity"] == "blocking").collect();
    assert_eq!(severe, Vec::<&Value>::new());
    let written = |kind: &str| outcome["tally"]["written"][kind].as_u64().unwrap_or(0);

    let rows = |tree: &str| -> Vec<Value> {
        let inspect = ["inspect", "--secrets", "--database", &database, tree];
        let Run { code: 0, out, .. } = command::run(inspect).unwrap() else { panic!("{tree}") };
        out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let current = rows("servercurrentevent_data");
    let queued = rows("servernameevent_data");
    let edus: Vec<_> = current
        .iter()
        .filter(|row| row["key"]["server"] == server.as_str())
        .filter_map(|row| row["value"]["json"]["edu_type"].as_str())
        .collect();
    assert_eq!(edus, ["m.direct_to_device", "m.device_list_update"]);
    let pdus = current.iter().filter(|row| row["key"]["server"] == server.as_str());
    assert!(pdus.filter(|row| row["value"]["json"].is_null()).count() > 0, "{current:#?}");

    // The bridge of the story did not run for a while.
    let of_bridge =
        |rows: &[Value]| rows.iter().filter(|row| row["key"]["appservice"] == "+bridge").count();
    assert!(of_bridge(&current) > 0 && of_bridge(&current) <= 30, "{}", of_bridge(&current));
    let events = written("queued-event");
    let all = current.len() + queued.len();
    assert_eq!(
        u64::try_from(all).unwrap(),
        events + written("queued-message") + written("queued-device-list")
    );
}
