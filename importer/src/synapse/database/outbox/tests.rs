use serde_json::{Value, json};

use crate::{
    dump::History,
    synapse::database::{
        outbox::MOST,
        testing::{Fixture, NewEvent, Server, config, dumped},
    },
};

/// Something of each kind that waits, that is broken, and that has been delivered.
fn waiting() -> Fixture {
    let mut fixture = Fixture::new();
    for (id, stream) in [("$delivered", 10), ("$first", 11), ("$second", 12)] {
        fixture.event(&NewEvent { id, stream: Some(stream), ..NewEvent::default() });
    }
    let message = |id: &str| json!({"sender": "@alice:own.test", "message_id": id});
    for statement in [
        format!("INSERT INTO device_federation_outbox VALUES ('b.test', 2, 0, '{}')", message("2")),
        format!("INSERT INTO device_federation_outbox VALUES ('b.test', 1, 0, '{}')", message("1")),
        "INSERT INTO device_federation_outbox VALUES ('b.test', 3, 0, '{')".into(),
        "INSERT INTO device_federation_outbox VALUES ('no name', 1, 0, '{}')".into(),
        "INSERT INTO destinations VALUES ('b.test', 10), ('c.test', 12), ('never.test', NULL)".into(),
        "INSERT INTO destination_rooms VALUES ('b.test', '!room:own.test', 12), ('c.test', '!room:own.test', 12), ('never.test', '!room:own.test', 12)".into(),
        "INSERT INTO device_lists_outbound_pokes VALUES (1, '@alice:own.test', 'b.test'), (2, '@alice:own.test', 'b.test'), (3, 'nobody', 'b.test')".into(),
        "INSERT INTO application_services_txns VALUES ('irc', 2, '[\"$second\"]'), ('irc', 1, '[\"$delivered\", \"$first\"]'), ('irc', 3, 'none')".into(),
    ] {
        fixture.sql(&statement);
    }
    fixture
}

#[tokio::test]
async fn what_was_not_delivered_is_dumped_in_order_by_both_engines() {
    let fixture = waiting();
    let dump = fixture.dump(History::Full).await;
    let event = |event: &str| json!({"appservice": "irc", "event_id": event});
    let message = |id: &str| json!({"server": "b.test", "content": {"sender": "@alice:own.test", "message_id": id}});
    assert_eq!(
        dump.outbox,
        [
            json!({"to-device": message("1")}),
            json!({"to-device": message("2")}),
            json!({"event": {"server": "b.test", "room_id": "!room:own.test", "event_id": "$second"}}),
            json!({"device-list": {"server": "b.test", "user_id": "@alice:own.test"}}),
            json!({"appservice": event("$delivered")}),
            json!({"appservice": event("$first")}),
            json!({"appservice": event("$second")}),
        ]
    );
    let skipped: Vec<_> = dump.skipped.iter().filter(|skip| skip.0.starts_with("queued")).collect();
    let skip = |kind: &str, item: &str, reason: &str| (kind.into(), item.into(), reason.into());
    let expected: [(String, String, String); 4] = [
        skip("queued-message", "b.test {", "json-invalid"),
        skip("queued-message", "no name", "id-invalid"),
        skip("queued-event", "irc", "json-invalid"),
        skip("queued-device-list", "b.test", "id-invalid"),
    ];
    assert_eq!(skipped, expected.iter().collect::<Vec<_>>());

    let Some(server) = Server::start() else { return };
    let database = fixture.postgres(&server).await;
    assert_eq!(dumped(&config(database), History::Full).await, dump);
}

#[tokio::test]
async fn of_too_many_the_newest_are_dumped_and_the_rest_is_counted() {
    let mut fixture = Fixture::new();
    let events: Vec<_> = (0..MOST + 2).map(|number| format!("$event{number:04}")).collect();
    fixture.sql(&format!(
        "INSERT INTO application_services_txns VALUES ('irc', 1, '{}')",
        json!(events)
    ));
    for stream in 0..=MOST {
        fixture.sql(&format!(
            "INSERT INTO device_federation_outbox VALUES ('b.test', {stream}, 0, '{{\"message_id\":\"{stream}\"}}')"
        ));
    }
    let dump = fixture.dump(History::Full).await;
    let first = |name: &str, pointer: &str| -> Vec<Value> {
        let items = dump.outbox.iter().filter(|item| item.get(name).is_some());
        items.map(|item| item.pointer(pointer).unwrap().clone()).collect()
    };
    let of_bridge = first("appservice", "/appservice/event_id");
    assert_eq!((of_bridge.len(), &of_bridge[0]), (MOST, &json!("$event0002")));
    let of_server = first("to-device", "/to-device/content/message_id");
    assert_eq!((of_server.len(), &of_server[0]), (MOST, &json!("1")));
    let too_many: Vec<_> =
        dump.skipped.iter().filter(|skip| skip.2 == "too-many-waiting").collect();
    assert_eq!(too_many.len(), 2, "{too_many:?}");
}
