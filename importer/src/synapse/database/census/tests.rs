use std::{collections::BTreeSet, fmt::Write as _};

use super::{
    table::Table,
    tables::{all, find},
};
use crate::{
    conduit::schema::dialect::Dialect,
    dump::{
        History,
        census::{Census, Fate, TableRows},
    },
    synapse::database::testing::{Dumped, Fixture, NewEvent, Server, config, dumped, opened},
};

/// A line of the table as `docs/census.md` has it.
fn line(table: &Table) -> String {
    let kinds: Vec<_> = table.kinds.iter().map(|kind| kind.name()).collect();
    let parts: Vec<_> =
        table.parts.iter().map(|part| format!("; *{}*: {}", part.reason, part.why)).collect();
    let fate = table.fate.words();
    format!(
        "| `{}` | {fate} | {} | {}{} |",
        table.name,
        kinds.join(", "),
        table.why,
        parts.concat()
    )
}

#[test]
fn tables_are_not_told_of_conduit_if_continuwuity_is_moved_to() {
    let whys: Vec<_> = all().map(|table| Dialect::Continuwuity.words(table.why)).collect();
    assert!(whys.len() > 150, "{}", whys.len());
    assert_eq!(whys.iter().filter(|why| why.contains("Conduit")).collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn the_documentation_has_every_table_with_its_words() {
    let documentation = include_str!("../../../../docs/census.md");
    let mut tables: Vec<_> = all().collect();
    tables.sort_by_key(|table| table.name);
    let mut text = String::from(
        "| table | rule | kinds | where its rows go, or why they stay |\n|---|---|---|---|\n",
    );
    for table in tables {
        writeln!(text, "{}", line(table)).unwrap();
    }
    assert!(documentation.contains(&text), "docs/census.md should contain:\n{text}");
}

#[test]
fn every_table_has_one_entry_and_what_moves_has_a_kind() {
    let names: BTreeSet<_> = all().map(|table| table.name).collect();
    assert_eq!(names.len(), all().count());
    for table in all().filter(|table| table.fate == Fate::Moves) {
        assert!(!table.kinds.is_empty(), "{}", table.name);
    }
    for (table, entry) in [
        ("event_search_segdir", Some("event_search")),
        ("user_directory_search_stat", Some("user_directory_search")),
        ("sqlite_sequence", Some("sqlite_*")),
        ("event_search_of_a_module", None),
        ("pizzas", None),
    ] {
        assert_eq!(find(table).map(|table| table.name), entry);
    }
}

fn of<'a>(census: &'a Census, name: &str) -> &'a TableRows {
    census.tables.iter().find(|table| table.table == name).unwrap()
}

/// Dumps a database by both engines, which must count the same.
async fn dumps(fixture: &Fixture) -> Dumped {
    let dump = fixture.dump(History::Full).await;
    if let Some(server) = Server::start() {
        let database = fixture.postgres(&server).await;
        let other = dumped(&config(database), History::Full).await;
        assert_eq!(other.census, dump.census);
        assert_eq!(other.skipped, dump.skipped);
    }
    dump
}

#[tokio::test]
async fn rows_of_owners_who_are_no_accounts_are_named_in_each_table() {
    let mut fixture = Fixture::new();
    for sql in [
        "INSERT INTO devices VALUES ('@alice:own.test', 'PHONE', NULL, NULL, NULL, FALSE)",
        "INSERT INTO devices VALUES ('@alice:own.test', 'master', NULL, NULL, NULL, TRUE)",
        "INSERT INTO devices VALUES ('@gone:own.test', 'A', NULL, NULL, NULL, FALSE)",
        "INSERT INTO devices VALUES ('@gone:own.test', 'B', NULL, NULL, NULL, FALSE)",
        "INSERT INTO access_tokens VALUES (1, '@gone:own.test', 'A', 'secret', NULL, NULL, NULL, NULL)",
        "INSERT INTO account_data VALUES ('@gone:own.test', 'm.x', '{}')",
        "INSERT INTO pushers VALUES ('@gone:own.test', 'app', 'key', 'http', 'App', 'Phone', '', 'en', '{}', TRUE, NULL)",
        "INSERT INTO device_inbox VALUES ('@gone:own.test', 'A', 1, '{}')",
        "INSERT INTO profiles VALUES ('gone', 'Gone', NULL, NULL)",
        "INSERT INTO profiles VALUES ('@alice:own.test', 'Alice', NULL, NULL)",
        "INSERT INTO receipts_linearized VALUES (1, '!nowhere:own.test', 'm.read', '@gone:own.test', '$x', '{\"ts\":1}', NULL, NULL)",
        "INSERT INTO receipts_linearized VALUES (2, '!nowhere:own.test', 'm.read', '@far:away.test', '$x', '{\"ts\":1}', NULL, NULL)",
        "INSERT INTO room_aliases VALUES ('#empty:own.test', '!nowhere:own.test', NULL)",
        "INSERT INTO rooms VALUES ('!nowhere:own.test', TRUE, '10')",
        "CREATE TABLE pizzas (name TEXT)",
    ] {
        fixture.sql(sql);
    }
    let dump = dumps(&fixture).await;
    let gone = |table: &str| {
        let rows = of(&dump.census, table);
        assert_eq!(rows.unaccounted, 0, "{rows:?}");
        (rows.rows, rows.moved, rows.left_out.get("owner-missing").copied())
    };
    assert_eq!(gone("devices"), (Some(4), 1, Some(2)));
    assert_eq!(of(&dump.census, "devices").never.get("hidden"), Some(&1));
    for table in ["access_tokens", "account_data", "pushers", "device_inbox"] {
        assert_eq!(gone(table), (Some(1), 0, Some(1)), "{table}");
    }
    assert_eq!(gone("profiles"), (Some(2), 1, Some(1)));
    assert_eq!(gone("receipts_linearized"), (Some(2), 0, Some(1)));
    assert_eq!(of(&dump.census, "receipts_linearized").never.get("nobody-here"), Some(&1));
    assert_eq!(of(&dump.census, "room_aliases").left_out.get("nobody-here"), Some(&1));
    assert!(dump.census.meets());
    assert_eq!(dump.users[0]["profile"]["displayname"], "Alice");
    let of_gone: BTreeSet<_> =
        dump.skipped.iter().map(|(kind, item, _)| (kind.as_str(), item.as_str())).collect();
    for skip in [
        ("device", "@gone:own.test"),
        ("access-token", "@gone:own.test"),
        ("pusher", "@gone:own.test"),
        ("to-device-message", "@gone:own.test"),
        ("profile-field", "gone"),
        ("alias", "!nowhere:own.test"),
        ("published-room", "!nowhere:own.test"),
    ] {
        assert!(of_gone.contains(&skip), "{skip:?} not in {of_gone:?}");
    }
}

#[tokio::test]
async fn an_unknown_table_with_rows_is_told() {
    let mut fixture = Fixture::new();
    for sql in ["CREATE TABLE pizzas (name TEXT)", "INSERT INTO pizzas VALUES ('funghi')"] {
        fixture.sql(sql);
    }
    let directory = tempfile::tempdir().unwrap();
    let dump = dumped_unmet(&fixture, directory.path()).await;
    assert!(!dump.meets());
    assert_eq!(of(&dump, "pizzas").unaccounted, 1);
    let findings: Vec<_> = crate::check::census::findings(&dump, Dialect::Conduit)
        .into_iter()
        .map(|finding| (finding.code, finding.subject, finding.text))
        .collect();
    assert_eq!(findings, [("C603", "`pizzas`".to_owned(), "1 row".into())]);
}

/// The census of a dump that does not meet.
async fn dumped_unmet(fixture: &Fixture, directory: &std::path::Path) -> Census {
    let database = fixture.sqlite(directory);
    let mut source = opened(&config(database)).await;
    let manifest = crate::source::dump::dump(
        &mut source,
        &directory.join("dump"),
        None,
        0,
        &crate::progress::Progress::Hidden,
        std::future::pending(),
    )
    .await
    .unwrap();
    manifest.census.unwrap()
}

#[tokio::test]
async fn rooms_that_only_their_state_knows_move_with_their_members() {
    let mut fixture = Fixture::new();
    let create = NewEvent {
        id: "$create",
        kind: "m.room.create",
        state_key: Some(""),
        group: Some(1),
        ..NewEvent::default()
    };
    fixture.event(&create);
    let join = NewEvent {
        id: "$join",
        kind: "m.room.member",
        state_key: Some("@alice:own.test"),
        prev: &["$create"],
        content: serde_json::json!({"membership": "join"}),
        group: Some(2),
        ..NewEvent::default()
    };
    fixture.event(&join);
    fixture.group(1, None, &[("m.room.create", "", "$create")]);
    fixture.group(2, Some(1), &[("m.room.member", "@alice:own.test", "$join")]);
    for sql in [
        "INSERT INTO current_state_events VALUES ('$create', '!room:own.test', 'm.room.create', '')",
        "INSERT INTO current_state_events VALUES ('$join', '!room:own.test', 'm.room.member', '@alice:own.test')",
        "INSERT INTO current_state_events VALUES ('bad', '!room:own.test', 'm.room.name', '')",
        "INSERT INTO room_aliases VALUES ('#room:own.test', '!room:own.test', NULL)",
    ] {
        fixture.sql(sql);
    }
    let dump = dumps(&fixture).await;
    assert_eq!(dump.rooms.len(), 1);
    assert_eq!(
        dump.rooms[0]["local_members"],
        serde_json::json!([{"user_id": "@alice:own.test", "membership": "join", "event_id": "$join"}])
    );
    assert_eq!(dump.rooms[0]["aliases"], serde_json::json!([{"alias": "#room:own.test"}]));
    assert_eq!(dump.rooms[0]["timeline"].as_array().unwrap().len(), 2);
    let state = of(&dump.census, "current_state_events");
    assert_eq!((state.rows, state.moved, state.left_out.get("id-invalid")), (Some(3), 2, Some(&1)));
}

#[tokio::test]
async fn an_application_services_user_without_a_row_is_an_account() {
    let mut fixture = Fixture::new();
    for sql in [
        "INSERT INTO profiles VALUES ('bot', 'Bot', NULL, NULL)",
        "INSERT INTO account_data VALUES ('@bot:own.test', 'm.x', '{}')",
        "INSERT INTO devices VALUES ('@bot:own.test', 'BOT', NULL, NULL, NULL, FALSE)",
    ] {
        fixture.sql(sql);
    }
    let directory = tempfile::tempdir().unwrap();
    let mut config = config(fixture.sqlite(directory.path()));
    for (id, sender) in [("bridge", "bot"), ("idle", "nobody"), ("known", "alice")] {
        let registration = format!("{{id: {id}, sender_localpart: {sender}}}");
        config.appservices.push(crate::dump::format::DumpAppservice {
            id: id.into(),
            registration: registration.into(),
        });
    }
    let dump = dumped(&config, History::Full).await;
    let users: Vec<_> = dump.users.iter().map(|user| user["user_id"].as_str().unwrap()).collect();
    assert_eq!(users, ["@alice:own.test", "@bot:own.test"]);
    let bot = &dump.users[1];
    assert_eq!(bot["appservice_id"], "bridge");
    assert_eq!(bot["profile"]["displayname"], "Bot");
    assert_eq!(bot["devices"][0]["device_id"], "BOT");
    assert!(bot["account_data"]["global"].get("m.x").is_some());
    assert_eq!(dump.skipped, []);
}

/// A room that the server is not in (any more), with a member event of a user.
fn elsewhere(fixture: &mut Fixture, room: &str, user: &str, memberships: &[&str]) {
    for membership in memberships {
        let id = format!("${membership}-{}", room.get(1..5).unwrap());
        let list = serde_json::json!([{"type": "m.room.name"}]);
        fixture.event_in(
            room,
            &NewEvent {
                id: &id,
                kind: "m.room.member",
                state_key: Some(user),
                content: serde_json::json!({"membership": membership}),
                unsigned: serde_json::json!({"invite_room_state": list}),
                metadata: serde_json::json!({"out_of_band_membership": true}),
                outlier: true,
                ..NewEvent::default()
            },
        );
        fixture.sql(&format!(
            "INSERT INTO room_memberships (event_id, user_id, room_id) VALUES ('{id}', '{user}', '{room}')"
        ));
    }
}

#[tokio::test]
async fn invites_and_left_rooms_that_only_their_events_know_move() {
    let mut fixture = Fixture::new();
    let alice = "@alice:own.test";
    elsewhere(&mut fixture, "!invited:away.test", alice, &["invite"]);
    elsewhere(&mut fixture, "!left:away.test", alice, &["join", "leave"]);
    elsewhere(&mut fixture, "!known:away.test", alice, &["invite"]);
    elsewhere(&mut fixture, "!rejected:away.test", alice, &["invite"]);
    elsewhere(&mut fixture, "!nobody:away.test", "@gone:own.test", &["invite"]);
    elsewhere(&mut fixture, "!others:away.test", "@far:away.test", &["join"]);
    // Synapse has taken her out of this room: its state is there and does not name her.
    elsewhere(&mut fixture, "!reset:away.test", alice, &["leave"]);
    for sql in [
        "INSERT INTO local_current_membership VALUES ('!known:away.test', '@alice:own.test', '$invite-know', 'invite')",
        "INSERT INTO local_current_membership VALUES ('!known:away.test', '@ghost:own.test', '$ghost', 'leave')",
        "INSERT INTO rejections VALUES ('$invite-reje')",
        "INSERT INTO current_state_events VALUES ('$create', '!reset:away.test', 'm.room.create', '')",
        "UPDATE room_memberships SET forgotten = 1 WHERE event_id = '$leave-left'",
    ] {
        fixture.sql(sql);
    }
    let dump = dumps(&fixture).await;
    let rooms: Vec<_> = dump.rooms.iter().map(|room| room["room_id"].as_str().unwrap()).collect();
    assert_eq!(rooms, ["!invited:away.test", "!known:away.test", "!left:away.test"]);
    let list = serde_json::json!([{"type": "m.room.name"}]);
    assert_eq!(
        dump.rooms[0]["local_members"],
        serde_json::json!([{
            "user_id": alice, "membership": "invite", "event_id": "$invite-invi", "stripped_state": list,
        }])
    );
    assert_eq!(
        dump.rooms[2]["local_members"],
        serde_json::json!([{
            "user_id": alice, "membership": "leave", "event_id": "$leave-left", "forgotten": true,
        }])
    );
    let members: Vec<_> = crate::check::census::findings(&dump.census, Dialect::Conduit)
        .into_iter()
        .map(|finding| (finding.code, finding.subject, finding.text))
        .collect();
    let members: Vec<_> =
        members.iter().map(|(code, user, text)| (*code, user.as_str(), &**text)).collect();
    assert_eq!(
        members,
        [
            ("C609", "@ghost:own.test", "rows: 1 in `local_current_membership`"),
            ("C609", "@gone:own.test", "rows: 1 in `room_memberships`"),
        ]
    );
    assert!(dump.census.meets());
}

#[tokio::test]
async fn events_of_which_only_the_content_is_left_are_counted() {
    let mut fixture = Fixture::new();
    for sql in [
        "INSERT INTO event_json VALUES ('$b', '{}', '{}', 3)",
        "INSERT INTO event_json VALUES ('$a', '{}', '{}', 3)",
    ] {
        fixture.sql(sql);
    }
    let whole = dumps(&Fixture::new()).await;
    assert_eq!(crate::check::census::findings(&whole.census, Dialect::Conduit), []);
    let dump = dumps(&fixture).await;
    let rows = of(&dump.census, "event_json");
    assert_eq!((rows.rows, rows.moved, rows.left_out.get("row-missing")), (Some(2), 0, Some(&2)));
    let found = crate::check::census::findings(&dump.census, Dialect::Conduit);
    let found: Vec<_> = found.iter().map(|found| (found.code, &*found.text)).collect();
    assert_eq!(found, [("C610", "2 rows, for example $a")]);
    let skipped: Vec<_> =
        dump.skipped.iter().map(|(kind, item, reason)| [kind.as_str(), item, reason]).collect();
    assert_eq!(skipped, [["timeline-event", "$a, $b", "row-missing"]]);
}

#[tokio::test]
async fn rows_of_events_that_have_a_twin_are_counted() {
    let mut fixture = Fixture::new();
    fixture.sql("INSERT INTO local_current_membership VALUES ('!room:own.test', '@alice:own.test', '$a', 'join')");
    for id in ["$a", "$b"] {
        fixture.event(&NewEvent { id, group: Some(1), ..NewEvent::default() });
    }
    fixture.sql("CREATE TABLE twin AS SELECT * FROM events WHERE event_id = '$a'");
    fixture.sql("INSERT INTO events SELECT * FROM twin");
    fixture.sql("DROP TABLE twin");
    let dump = dumps(&fixture).await;
    let events = of(&dump.census, "events");
    assert_eq!((events.rows, events.unaccounted), (Some(3), 0));
    assert_eq!(events.left_out.get("event-twice"), Some(&1));
    assert!(events.examples.is_empty());
}

/// SQLite takes a text for a number. Nothing else of the room may be missed for it.
#[tokio::test]
async fn events_whose_place_is_no_number_are_counted() {
    for column in ["stream_ordering", "topological_ordering"] {
        for stream in [None, Some(-5)] {
            let mut fixture = Fixture::new();
            fixture.sql("INSERT INTO local_current_membership VALUES ('!room:own.test', '@alice:own.test', '$a', 'join')");
            for id in ["$a", "$b", "$c"] {
                fixture.event(&NewEvent { id, group: Some(1), ..NewEvent::default() });
            }
            fixture.event(&NewEvent { id: "$d", stream, group: Some(1), ..NewEvent::default() });
            fixture
                .sql(&format!("UPDATE events SET {column} = 'x' WHERE event_id IN ('$b', '$d')"));
            let dump = fixture.dump(History::Full).await;
            assert_eq!(of(&dump.census, "events").rows, Some(4), "{column} {stream:?}");
            assert!(dump.census.meets());
        }
    }
}
