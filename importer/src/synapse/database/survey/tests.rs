//! Each check on a database that must trip it.

use std::collections::BTreeSet;

use sqlx::{ConnectOptions as _, Connection as _};

use crate::{
    check::Checks,
    findings::Finding,
    source::{Source as _, survey::Survey},
    synapse::{
        config::{DatabaseConfig, SynapseConfig},
        database::testing::{Fixture, NOW, NewEvent, Server, config, opened},
    },
};

const MEDIA: &str = "CREATE TABLE IF NOT EXISTS local_media_repository \
    (media_id TEXT, media_length INTEGER, url_cache TEXT)";

/// A server without anything to complain about.
fn sound() -> Fixture {
    let mut fixture = Fixture::new();
    fixture.sql("UPDATE users SET admin = 1, password_hash = 'hash'");
    fixture.sql("CREATE TABLE users_pending_deactivation (user_id TEXT)");
    fixture.sql("CREATE TABLE delayed_events (is_processed BOOLEAN)");
    fixture.sql("CREATE TABLE partial_state_rooms (room_id TEXT)");
    fixture.sql("CREATE TABLE room_stats_state (room_id TEXT, name TEXT, canonical_alias TEXT)");
    fixture.sql(MEDIA);
    room(&mut fixture, "!good:own.test", Some("11"), "join");
    fixture
}

fn room(fixture: &mut Fixture, id: &str, version: Option<&str>, membership: &str) {
    let version = version.map_or("NULL".to_owned(), |version| format!("'{version}'"));
    fixture.sql(&format!("INSERT INTO rooms (room_id, room_version) VALUES ('{id}', {version})"));
    fixture.sql(&format!(
        "INSERT INTO local_current_membership VALUES ('{id}', '@alice:own.test', '$member', '{membership}')"
    ));
    fixture.sql(&format!(
        "INSERT INTO current_state_events VALUES ('$create{id}', '{id}', 'm.room.create', '')"
    ));
    fixture.sql(&format!("INSERT INTO event_json VALUES ('$create{id}', '{{}}', '{{}}', 3)"));
    fixture.sql(&format!(
        "INSERT INTO events VALUES (-1, 1, '$create{id}', 'm.room.create', '{id}', TRUE, 1, '@alice:own.test')"
    ));
}

async fn survey(config: &SynapseConfig) -> Survey {
    let mut source = opened(config).await;
    let survey = source.survey().await.unwrap();
    source.close().await.unwrap();
    survey
}

/// Code, subject and text of what is found.
fn found(survey: &Survey, config: &SynapseConfig) -> BTreeSet<(&'static str, String, String)> {
    let mut checks = Checks::default();
    checks.survey(survey, Some(config));
    checks
        .finish()
        .into_iter()
        .map(|Finding { code, subject, text, .. }| (code, subject, text.into_owned()))
        .collect()
}

/// What a change to the sound server makes of it, beyond what is always there.
async fn after(change: impl FnOnce(&mut Fixture)) -> Vec<(&'static str, String, String)> {
    let directory = tempfile::tempdir().unwrap();
    let mut fixture = sound();
    change(&mut fixture);
    let config = config(fixture.sqlite(directory.path()));
    let mut found = found(&survey(&config).await, &config);
    assert!(found.remove(&("C208", "own.test".into(), "1 password".into())));
    found.into_iter().collect()
}

#[tokio::test]
async fn a_sound_server_has_no_findings() {
    assert_eq!(after(|_| {}).await, []);
}

fn user(name: &str, columns: &str, values: &str) -> String {
    format!("INSERT INTO users (name, creation_ts, {columns}) VALUES ('{name}', 1, {values})")
}

#[tokio::test]
async fn each_trap_of_accounts_is_found() {
    for (sql, code, subject, text) in [
        (
            user("@conduit:own.test", "admin", "0"),
            "C201",
            "@conduit:own.test",
            "is an active account",
        ),
        (
            user("@conduit:own.test", "deactivated", "1"),
            "C202",
            "@conduit:own.test",
            "was deactivated",
        ),
        (
            "INSERT INTO room_aliases VALUES ('#admins:own.test', '!good:own.test', NULL)".into(),
            "C203",
            "#admins:own.test",
            "is an alias of !good:own.test",
        ),
        (
            "UPDATE users SET admin = 0".into(),
            "C204",
            "own.test",
            "no active server administrator",
        ),
        (
            user("@bob:other.test", "deactivated", "1"),
            "C205",
            "@bob:other.test",
            "belongs to another server name",
        ),
        (
            user("bob", "deactivated", "1"),
            "C205",
            "bob",
            "is no user id, or its row is broken",
        ),
        (user("@Bob:own.test", "is_guest", "1"), "C206", "@Bob:own.test", "has capitals"),
        (user("@bob:own.test", "admin", "0"), "C207", "@bob:own.test", "has no password"),
        (user("@bob:own.test", "is_guest", "1"), "C209", "@bob:own.test", "is a guest"),
        (
            user("@bob:own.test", "locked", "TRUE"),
            "C210",
            "@bob:own.test",
            "is locked, suspended, shadow-banned or unapproved",
        ),
        (
            user("@bob:own.test", "appservice_id", "'bridge'"),
            "C211",
            "@bob:own.test",
            "belongs to the application service `bridge`",
        ),
        (
            "INSERT INTO users_pending_deactivation VALUES ('@alice:own.test')".into(),
            "C212",
            "@alice:own.test",
            "is being deactivated",
        ),
        (
            format!("INSERT INTO access_tokens (user_id, device_id, token, valid_until_ms) VALUES ('@alice:own.test', 'D', 'secret', {})", NOW + 1),
            "C213",
            "@alice:own.test",
            "1 access token",
        ),
        (
            "INSERT INTO access_tokens (user_id, token) VALUES ('@alice:own.test', 'secret')".into(),
            "C214",
            "@alice:own.test",
            "1 access token",
        ),
        (
            "INSERT INTO pushers VALUES ('@alice:own.test', 'm.email', 'a@b', 'email', '', '', '', '', '{}', TRUE, NULL)".into(),
            "C215",
            "@alice:own.test",
            "1 pusher",
        ),
        (
            "INSERT INTO user_threepids VALUES ('@alice:own.test', 'email', 'a@b', 1, 1)".into(),
            "C216",
            "own.test",
            "1 id",
        ),
        (
            "INSERT INTO delayed_events VALUES (FALSE)".into(),
            "C217",
            "own.test",
            "1 delayed event",
        ),
    ] {
        let found = after(|fixture| fixture.sql(&sql)).await;
        let expected = (code, subject.to_owned(), text.to_owned());
        assert!(found.contains(&expected), "{sql}: {found:?}");
        // `@conduit` has no password, and `@Bob` is a guest, too.
        let others = found.iter().filter(|finding| **finding != expected);
        assert!(others.into_iter().all(|finding| finding.1 == subject), "{sql}: {found:?}");
        assert!(!format!("{found:?}").contains("secret"));
    }
}

#[tokio::test]
async fn what_conduit_has_no_place_for_is_counted() {
    let found = after(|fixture| {
        fixture.sql("INSERT INTO dehydrated_devices VALUES ('@alice:own.test', 'D', '{}')");
        for (user, fields) in
            [("alice", "'{\"org.pronouns\":[]}'"), ("bob", "'{}'"), ("carl", "NULL")]
        {
            if user != "alice" {
                fixture.sql(&format!(
                    "INSERT INTO users (name, appservice_id) VALUES ('@{user}:own.test', NULL)"
                ));
                fixture.sql(&format!(
                    "UPDATE users SET deactivated = 1 WHERE name = '@{user}:own.test'"
                ));
            }
            fixture.sql(&format!("INSERT INTO profiles VALUES ('{user}', NULL, NULL, {fields})"));
        }
    });
    let one = |text: &str| ("C219", "own.test".to_owned(), text.to_owned());
    assert_eq!(found.await, [one("1 dehydrated device"), one("1 profile with custom fields")]);
}

#[tokio::test]
async fn events_of_erased_users_are_counted_but_not_the_present_state() {
    let found = after(|fixture| {
        fixture.sql("INSERT INTO erased_users VALUES ('@alice:own.test')");
        for (id, sender, outlier) in [
            ("$said", "@alice:own.test", false),
            ("$current", "@alice:own.test", false),
            ("$apart", "@alice:own.test", true),
            ("$of-bob", "@bob:own.test", false),
        ] {
            fixture.event(&NewEvent { id, sender, outlier, group: Some(1), ..NewEvent::default() });
        }
        fixture.sql("INSERT INTO current_state_events VALUES ('$current', '!room:own.test', 'm.room.topic', '')");
    });
    let text = "1 erased user, 1 event of theirs".to_owned();
    assert_eq!(found.await, [("C218", "own.test".to_owned(), text)]);
}

#[tokio::test]
async fn tokens_that_are_over_or_move_are_no_finding() {
    let none = after(|fixture| {
        for values in ["1, 'D', 'a', NULL, NULL", "2, NULL, 'b', 5, NULL", "3, NULL, 'c', NULL, '@bob:own.test'"] {
            fixture.sql(&format!(
                "INSERT INTO access_tokens (id, user_id, device_id, token, valid_until_ms, puppets_user_id) \
                 SELECT v.* FROM (SELECT 1) x, (SELECT {}) v",
                values.replacen(',', ", '@alice:own.test',", 1)
            ));
        }
    })
    .await;
    assert_eq!(none, []);
}

#[tokio::test]
async fn each_trap_of_rooms_is_found() {
    let one = |code, subject: &str, text: &str| vec![(code, subject.to_owned(), text.to_owned())];
    let id = "!a:own.test";
    let old = after(|fixture| {
        room(fixture, id, Some("1"), "join");
        fixture.sql("INSERT INTO room_stats_state VALUES ('!a:own.test', 'Old <b>', NULL)");
    });
    assert_eq!(old.await, one("C301", id, "\"Old <b>\", version 1, 1 local user"));
    let experimental = after(|fixture| {
        room(fixture, id, Some("org.matrix.msc3667"), "join");
        fixture.sql("INSERT INTO room_aliases VALUES ('#x:own.test', '!a:own.test', NULL)");
    });
    assert_eq!(
        experimental.await,
        one("C301", id, "\"#x:own.test\", version org.matrix.msc3667, 1 local user")
    );
    let left = after(|fixture| room(fixture, id, Some("2"), "leave"));
    assert_eq!(left.await, one("C302", id, "version 2, 0 local users"));
    let partial = after(|fixture| {
        fixture.sql("INSERT INTO partial_state_rooms VALUES ('!good:own.test')");
    });
    assert_eq!(partial.await, one("C303", "!good:own.test", "1 local user"));
    // The state after the newest event is taken instead.
    let stateless = after(|fixture| fixture.sql("DELETE FROM current_state_events"));
    assert_eq!(stateless.await, one("C312", "!good:own.test", "1 local user"));
    let broken = after(|fixture| {
        fixture.sql(
            "UPDATE current_state_events SET type = 'm.room.topic' WHERE type = 'm.room.create'",
        );
    });
    assert_eq!(broken.await, one("C304", "!good:own.test", "1 local user"));
    for lost in ["DELETE FROM event_json", "INSERT INTO rejections SELECT event_id FROM event_json"]
    {
        assert_eq!(
            after(|fixture| fixture.sql(lost)).await,
            one("C304", "!good:own.test", "1 local user")
        );
    }
    let blocked = after(|fixture| fixture.sql("INSERT INTO blocked_rooms VALUES ('!b:own.test')"));
    assert_eq!(blocked.await, one("C310", "!b:own.test", "is blocked"));
    for (content, said) in
        [("{\"history_visibility\": \"friends\"}", "is \"friends\""), ("{}", "has no value")]
    {
        let unknown = after(|fixture| {
            let kind = "m.room.history_visibility";
            fixture.sql(&format!(
                "INSERT INTO current_state_events VALUES ('$v', '!good:own.test', '{kind}', '')"
            ));
            fixture.sql(&format!(
                "INSERT INTO event_json VALUES ('$v', '{{}}', '{{\"content\": {content}}}', 3)"
            ));
            fixture.sql(&format!(
                "INSERT INTO events VALUES (9, 9, '$v', '{kind}', '!good:own.test', TRUE, 1, '@alice:own.test')"
            ));
        });
        assert_eq!(unknown.await, one("C311", "!good:own.test", said));
    }
    let invite = after(|fixture| room(fixture, id, None, "invite"));
    assert_eq!(invite.await, one("C305", id, "an invite or knock"));
    let alias = after(|fixture| {
        fixture.sql("INSERT INTO room_aliases VALUES ('#a:other.test', '!good:own.test', NULL)");
    });
    assert_eq!(alias.await, one("C306", "#a:other.test", "is another server's alias"));
}

#[tokio::test]
async fn media_that_are_not_where_they_should_be_are_found() {
    let directory = tempfile::tempdir().unwrap();
    let mut fixture = sound();
    for values in [
        "'abcdefgh', 3, NULL",
        "'../../etc', 4, NULL",
        "'notloaded', NULL, NULL",
        "'preview1', 9, 'https://x'",
    ] {
        fixture.sql(&format!("INSERT INTO local_media_repository (media_id, media_length, url_cache) VALUES ({values})"));
    }
    let mut config = config(fixture.sqlite(directory.path()));
    config.media_store_path = directory.path().join("media");
    let missing = survey(&config).await;
    assert_eq!((missing.media.files, missing.media.bytes), (2, 7));
    let codes = |survey, config| {
        found(survey, config).into_iter().map(|finding| finding.0).collect::<Vec<_>>()
    };
    assert_eq!(codes(&missing, &config), ["C208", "C401"]);

    let file = config.media_store_path.join("local_content/ab/cd/efgh");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, "abc").unwrap();
    let found = found(&survey(&config).await, &config);
    let media: Vec<_> = found.iter().filter(|finding| finding.0 == "C402").collect();
    assert_eq!(media, [&("C402", "mxc://own.test/../../etc".to_owned(), "no file".to_owned())]);
}

#[tokio::test]
async fn avatars_that_synapse_has_no_row_of_are_found() {
    let directory = tempfile::tempdir().unwrap();
    let mut fixture = sound();
    for sql in [
        "INSERT INTO local_media_repository (media_id) VALUES ('here')",
        "INSERT INTO profiles VALUES ('alice', NULL, 'mxc://own.test/here', NULL)",
        "INSERT INTO profiles VALUES ('bob', NULL, 'mxc://own.test/gone', NULL)",
        "INSERT INTO profiles VALUES ('carl', NULL, 'mxc://other.test/gone', NULL)",
        "INSERT INTO profiles VALUES ('dora', NULL, NULL, NULL)",
        "ALTER TABLE room_stats_state ADD COLUMN avatar TEXT",
        "INSERT INTO room_stats_state (room_id, avatar) VALUES ('!good:own.test', 'mxc://own.test/away')",
    ] {
        fixture.sql(sql);
    }
    let config = config(fixture.sqlite(directory.path()));
    let found = found(&survey(&config).await, &config);
    let found: Vec<_> = found.into_iter().filter(|finding| finding.0 == "C405").collect();
    let avatar = |uri: &str, of: &str| ("C405", uri.to_owned(), format!("is the avatar of {of}"));
    let expected =
        [avatar("mxc://own.test/away", "!good:own.test"), avatar("mxc://own.test/gone", "bob")];
    assert_eq!(found, expected);
}

#[tokio::test]
async fn both_engines_are_seen_alike() {
    let Some(server) = Server::start() else { return };
    let mut fixture = sound();
    for sql in [
        "UPDATE users SET admin = 0, is_guest = 1",
        "INSERT INTO users_pending_deactivation VALUES ('@alice:own.test')",
        "INSERT INTO access_tokens (user_id, token) VALUES ('@alice:own.test', 'secret')",
        "INSERT INTO room_aliases VALUES ('#admins:own.test', '!good:own.test', NULL)",
        "INSERT INTO room_aliases VALUES ('#a:other.test', '!good:own.test', NULL)",
        "INSERT INTO delayed_events VALUES (FALSE)",
        "INSERT INTO background_updates VALUES ('some_index')",
        "INSERT INTO dehydrated_devices VALUES ('@alice:own.test', 'D', '{}')",
        "INSERT INTO profiles VALUES ('alice', NULL, NULL, '{\"org.pronouns\": []}')",
        "INSERT INTO profiles VALUES ('bob', NULL, 'mxc://own.test/gone', '{}')",
        "INSERT INTO local_media_repository (media_id, media_length) VALUES ('abcdefgh', 3)",
    ] {
        fixture.sql(sql);
    }
    room(&mut fixture, "!a:own.test", Some("1"), "join");
    let directory = tempfile::tempdir().unwrap();
    let sqlite = survey(&config(fixture.sqlite(directory.path()))).await;
    let mut postgres = survey(&config(fixture.postgres(&server).await)).await;
    let database = postgres.database.as_mut().unwrap();
    assert!(database.bytes > 1 << 20, "{}", database.bytes);
    let locale = database.locale.take().unwrap();
    assert_eq!((&*locale.encoding, &*locale.collation, &*locale.ctype), ("UTF8", "C", "C"));
    database.other_sessions = 0;
    database.bytes = sqlite.database.as_ref().unwrap().bytes;
    assert_eq!(postgres, sqlite);
}

#[tokio::test]
async fn sessions_of_others_on_a_postgresql_database_are_counted() {
    let Some(server) = Server::start() else { return };
    let config = config(sound().postgres(&server).await);
    let DatabaseConfig::Postgres(postgres) = &config.database else { panic!() };
    let name = postgres.database.clone().unwrap();
    let sessions = async || survey(&config).await.database.unwrap().other_sessions;
    // The connection that filled it may take a moment to end.
    while sessions().await > 0 {}
    let mut synapse = server.options().database(&name).connect().await.unwrap();
    synapse.ping().await.unwrap();
    assert_eq!(sessions().await, 1);
}

#[tokio::test]
async fn a_database_that_synapse_would_refuse_is_found() {
    let Some(server) = Server::start() else { return };
    let mut config = config(sound().postgres(&server).await);
    server.create_database("latin", "ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'").await;
    server.create_database("sorted", "LC_COLLATE 'C.UTF-8' LC_CTYPE 'C.UTF-8'").await;
    for (name, code, text) in [
        ("latin", "C108", "its encoding is `LATIN1`"),
        ("sorted", "C109", "collation `C.UTF-8`, character type `C.UTF-8`"),
    ] {
        sound().fill(server.options().database(name)).await;
        if let DatabaseConfig::Postgres(postgres) = &mut config.database {
            postgres.database = Some(name.into());
        }
        let found = found(&survey(&config).await, &config);
        assert!(found.contains(&(code, "database".into(), text.into())), "{found:?}");
    }
}

/// What would end the dump in its middle ends the check.
#[tokio::test]
async fn missing_tables_and_damaged_pages_are_found() {
    async fn refused(config: &SynapseConfig) -> String {
        opened(config).await.survey().await.unwrap_err().to_string()
    }
    let directory = tempfile::tempdir().unwrap();
    for table in ["redactions", "e2e_room_keys", "state_group_edges"] {
        let mut fixture = sound();
        fixture.sql(&format!("DROP TABLE {table}"));
        let place = directory.path().join(table);
        std::fs::create_dir(&place).unwrap();
        let said = refused(&config(fixture.sqlite(&place))).await;
        assert!(said.contains(table), "{table}: {said}");
    }
    let mut fixture = sound();
    for number in 0..3000 {
        fixture.sql(&format!("INSERT INTO blocked_rooms VALUES ('!blocked{number}:own.test')"));
    }
    let config = config(fixture.sqlite(directory.path()));
    let DatabaseConfig::Sqlite { path } = &config.database else { unreachable!() };
    let mut bytes = std::fs::read(path).unwrap();
    // Pages that the catalogue does not need.
    let page = bytes.len() / 4096 * 3 / 4 * 4096;
    bytes[page..page + 4096].fill(0xaa);
    std::fs::write(path, bytes).unwrap();
    let said = refused(&config).await;
    assert!(said.contains("is damaged"), "{said}");
}
