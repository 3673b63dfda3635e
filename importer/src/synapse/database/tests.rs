use super::{
    DatabaseSource,
    testing::{Fixture, Server, config, dumped, opened, refusal},
};
use crate::{
    dump::{Extent, History},
    source::Source as _,
    synapse::config::{DatabaseConfig, PostgresConfig},
};

#[tokio::test]
async fn a_missing_file_is_named() {
    let config = config(DatabaseConfig::Sqlite { path: "nowhere/homeserver.db".into() });
    assert_eq!(
        refusal(&config).await.to_string(),
        "Synapse's database `nowhere/homeserver.db` does not exist; run the importer from Synapse's working directory, or correct `database.args.database`"
    );
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("text");
    std::fs::write(&path, "not a database, but longer than a hundred bytes: ".repeat(9)).unwrap();
    let error = refusal(&config(DatabaseConfig::Sqlite { path })).await;
    assert!(error.to_string().contains("is not a Synapse database"), "{error}");
}

/// What is wrong with a database that `change` has been done to.
async fn refused(change: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::new();
    fixture.sql(change);
    refusal(&config(fixture.sqlite(directory.path()))).await.to_string()
}

#[tokio::test]
async fn databases_that_cannot_be_read_are_refused_with_a_remedy() {
    for (change, text) in [
        ("DROP TABLE events", "is not a Synapse database: it has no table `events`"),
        ("DELETE FROM schema_version", "its table `schema_version` is empty"),
        (
            "UPDATE schema_version SET version = 71",
            "schema version 71, and versions from 72 on can be read; a current Synapse may fail half-way",
        ),
        ("UPDATE schema_version SET version = 54", "start Synapse 1.68.0 on it"),
        (
            "UPDATE schema_version SET version = 95",
            "schema version 95; this importer knows versions up to 94",
        ),
        (
            "INSERT INTO background_updates VALUES ('users_set_deactivated_flag')",
            "background update `users_set_deactivated_flag` has not finished",
        ),
        (
            "UPDATE users SET name = '@alice:not-own.test'",
            "no user of the database belongs to `own.test`, but for example `@alice:not-own.test`",
        ),
    ] {
        let refused = refused(change).await;
        assert!(refused.contains(text), "{change}: {refused}");
    }
}

#[tokio::test]
async fn other_background_updates_and_an_empty_server_are_no_reason_to_refuse() {
    let directory = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::new();
    fixture.sql("INSERT INTO background_updates VALUES ('redactions_recheck')");
    fixture.sql("DELETE FROM users");
    let config = config(fixture.sqlite(directory.path()));
    let source =
        DatabaseSource::open(&config, Extent { history: History::Recent, ..Extent::FULL }, 0)
            .await
            .unwrap();
    assert_eq!(source.info().pending_updates, ["redactions_recheck"]);
}

/// A PostgreSQL configuration with a password that must not show up.
fn postgres(sslmode: &str) -> DatabaseConfig {
    DatabaseConfig::Postgres(PostgresConfig {
        host: Some("127.0.0.1".into()),
        port: Some("1".into()),
        user: Some("synapse".into()),
        password: Some("planted-secret".into()),
        database: Some("synapse".into()),
        sslmode: Some(sslmode.into()),
        ..PostgresConfig::default()
    })
}

#[tokio::test]
async fn a_postgres_that_does_not_answer_is_named_without_the_password() {
    let error = refusal(&config(postgres("prefer"))).await;
    assert_eq!(
        error.to_string(),
        "PostgreSQL does not answer at 127.0.0.1, port 1; start it, correct `host` and `port` under `database.args`, \
         or if that name is a container's, name the address that reaches it from here: `--synapse-database 'host=127.0.0.1 port=5432'`"
    );
    assert!(!format!("{error:?}").contains("planted-secret"));
}

#[tokio::test]
async fn both_engines_give_the_same_dump() {
    let Some(server) = Server::start() else { return };
    let mut fixture = Fixture::new();
    super::users::tests::everything(&mut fixture);
    super::rooms::tests::history(&mut fixture);
    super::media::tests::everything(&mut fixture);
    let expected = fixture.dump(History::Full).await;
    let config = config(fixture.postgres(&server).await);
    assert_eq!(dumped(&config, History::Full).await, expected);
    assert!(!expected.skipped.is_empty() && expected.rooms.len() == 1, "the fixture is empty");

    let mut source = opened(&config).await;
    assert!(source.second().is_some(), "there is one reader only");

    let mut missing = config.clone();
    if let DatabaseConfig::Postgres(postgres) = &mut missing.database {
        postgres.database = Some("nowhere".into());
    }
    let error = refusal(&missing).await.to_string();
    assert!(error.contains("has no database `nowhere`"), "{error}");
}

#[tokio::test]
async fn a_server_that_gives_one_connection_is_read_by_one() {
    let Some(server) = Server::start() else { return };
    let mut fixture = Fixture::new();
    super::rooms::tests::history(&mut fixture);
    let expected = fixture.dump(History::Full).await;
    let mut config = config(fixture.postgres(&server).await);
    // One role for each time: the server may take a while to notice that a connection is closed.
    let mut limited = async |role: &str| {
        server.execute(format!("CREATE ROLE {role} LOGIN CONNECTION LIMIT 1")).await;
        server.execute(format!("GRANT pg_read_all_data TO {role}")).await;
        if let DatabaseConfig::Postgres(postgres) = &mut config.database {
            postgres.user = Some(role.into());
        }
        config.clone()
    };
    let config = limited("first").await;
    let mut source = opened(&config).await;
    assert!(source.second().is_none(), "the server gave two connections");
    assert_eq!(dumped(&limited("second").await, History::Full).await, expected);
}
