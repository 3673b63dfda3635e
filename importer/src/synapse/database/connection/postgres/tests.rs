//! On a real server: over TLS and without, with certificates that the test makes, roles and schemas.

use std::net::TcpListener;

use super::*;
use crate::synapse::{
    config::{DatabaseConfig, PostgresConfig},
    database::testing::{Fixture, Server, config, opened, refusal, run_as_postgres},
};

/// Who may come how: a socket for the test itself; TLS for all others; a certificate for one role.
const ACCESS: &str = "local all nobody peer\n\
                      local all no-such-user peer\n\
                      local all all trust\n\
                      hostssl all certified all cert\n\
                      hostnossl all plain all trust\n\
                      hostssl all plain all reject\n\
                      hostssl all all all trust\n";

/// A server with TLS for `localhost`, certified by `ca.crt`, and its port. There is another authority, `other.crt`.
fn server() -> Option<(Server, u16)> {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let server = Server::start_with(port, |server| {
        let directory = server.socket().to_str().unwrap().to_owned();
        certificates(&directory);
        std::fs::write(server.socket().join("data/pg_hba.conf"), ACCESS).unwrap();
        format!(
            "-c listen_addresses=127.0.0.1 -c ssl=on -c ssl_cert_file={directory}/server.crt \
             -c ssl_key_file={directory}/server.key -c ssl_ca_file={directory}/ca.crt"
        )
    })?;
    Some((server, port))
}

fn certificates(directory: &str) {
    let openssl = |words: &str| {
        let words: Vec<_> = words.split(' ').collect();
        run_as_postgres("openssl", &words);
    };
    let at = |name: &str| format!("{directory}/{name}");
    for authority in ["ca", "other"] {
        openssl(&format!(
            "req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN={authority} -keyout {} -out {}",
            at(&format!("{authority}.key")),
            at(&format!("{authority}.crt"))
        ));
    }
    for (name, common) in [("server", "localhost"), ("client", "certified")] {
        let (key, request) = (at(&format!("{name}.key")), at(&format!("{name}.csr")));
        openssl(&format!(
            "req -newkey rsa:2048 -nodes -subj /CN={common} -addext subjectAltName=DNS:{common} -keyout {key} -out {request}"
        ));
        openssl(&format!(
            "x509 -req -in {request} -CA {} -CAkey {} -CAcreateserial -days 30 -copy_extensions copy -out {}",
            at("ca.crt"),
            at("ca.key"),
            at(&format!("{name}.crt"))
        ));
    }
}

fn over_tcp(port: u16, host: &str, mode: &str) -> PostgresConfig {
    let text = |text: &str| Some(text.to_owned());
    PostgresConfig {
        host: text(host),
        port: Some(port.to_string()),
        user: text("postgres"),
        database: text("postgres"),
        sslmode: text(mode),
        ..PostgresConfig::default()
    }
}

/// Whether the connection is encrypted, or why there is none.
async fn encrypted(config: PostgresConfig) -> Result<bool, String> {
    let mut connection = open(&config).await.map_err(|error| format!("{error:?}"))?;
    let sql = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    Ok(sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap())
}

#[tokio::test]
async fn tls_is_as_sslmode_says() {
    let Some((server, port)) = server() else { return };
    server.execute("CREATE ROLE plain LOGIN; CREATE ROLE certified LOGIN".into()).await;
    let file = |name: &str| Some(server.socket().join(name));
    let with = |host: &str, mode: &str, root: Option<&str>| PostgresConfig {
        // Not what this machine's user may have.
        sslrootcert: root.map_or(Some("/nowhere/root.crt".into()), file),
        sslcert: Some("/nowhere/client.crt".into()),
        sslkey: Some("/nowhere/client.key".into()),
        ..over_tcp(port, host, mode)
    };
    // What the server wants of `postgres` is TLS: without it, nothing gets in.
    for (mode, root) in [
        ("prefer", None),
        ("allow", None),
        ("require", None),
        ("require", Some("ca.crt")),
        ("verify-ca", Some("ca.crt")),
        ("verify-full", Some("ca.crt")),
    ] {
        assert_eq!(encrypted(with("localhost", mode, root)).await, Ok(true), "{mode}");
    }
    // The certificate names `localhost`, and no address.
    assert_eq!(encrypted(with("127.0.0.1", "verify-ca", Some("ca.crt"))).await, Ok(true));
    for (host, mode, root, expected) in [
        ("localhost", "disable", None, "Authentication"),
        ("127.0.0.1", "verify-full", Some("ca.crt"), "Tls"),
        ("localhost", "verify-full", Some("other.crt"), "Tls"),
        ("localhost", "verify-ca", Some("other.crt"), "Tls"),
        ("localhost", "require", Some("other.crt"), "Tls"),
        ("localhost", "prefer", Some("other.crt"), "Tls"),
        ("localhost", "verify-ca", None, "Authorities"),
        ("localhost", "verify-full", Some("nowhere.crt"), "Authorities"),
        ("localhost", "nonsense", None, "Setting"),
    ] {
        let error = encrypted(with(host, mode, root)).await.unwrap_err();
        assert!(error.starts_with(expected), "{host} {mode} {root:?}: {error}");
    }
    // A role that is let in without TLS only, as by a server that has none.
    let plain =
        |mode| PostgresConfig { user: Some("plain".into()), ..with("localhost", mode, None) };
    assert_eq!(encrypted(plain("prefer")).await, Ok(false));
    assert_eq!(encrypted(plain("allow")).await, Ok(false));
    assert!(encrypted(plain("require")).await.is_err());

    let certified = |certificate: &str| PostgresConfig {
        user: Some("certified".into()),
        sslcert: file(&format!("{certificate}.crt")),
        sslkey: file(&format!("{certificate}.key")),
        ..with("localhost", "verify-full", Some("ca.crt"))
    };
    assert_eq!(encrypted(certified("client")).await, Ok(true));
    let error = encrypted(certified("nowhere")).await.unwrap_err();
    assert!(error.starts_with("Authentication"), "{error}");
}

/// The system user decides there, so who runs the command matters, and which user that must be is said.
#[tokio::test]
async fn who_must_connect_is_said_where_the_system_user_decides() {
    let Some((server, port)) = server() else { return };
    let said = async |user: &str| {
        let config = PostgresConfig {
            user: Some(user.into()),
            ..over_tcp(port, &server.socket().to_string_lossy(), "disable")
        };
        open(&config).await.unwrap_err().to_string()
    };
    let here = said("nobody").await;
    for words in [
        "accepts `nobody` from the system user of that name only",
        "`sudo -u nobody importer dump --dump DIR`",
        "then `importer import --dump DIR`",
        "`sudo -u postgres importer` does not work",
        "--synapse-database-password-file",
    ] {
        assert!(here.contains(words), "{words}: {here}");
    }
    let absent = said("no-such-user").await;
    assert!(
        absent.contains("there is no such system user here: give the role a password"),
        "{absent}"
    );
    assert!(!absent.contains("sudo -u no-such-user"), "{absent}");
}

#[tokio::test]
async fn hosts_are_tried_until_one_answers_and_fits() {
    let Some((_server, port)) = server() else { return };
    let several = |attributes: &str| PostgresConfig {
        host: Some("127.0.0.1,localhost".into()),
        port: Some(format!("1,{port}")),
        target_session_attrs: Some(attributes.into()),
        connect_timeout: Some("5".into()),
        ..over_tcp(port, "", "require")
    };
    for attributes in ["any", "read-write", "primary", "prefer-standby"] {
        assert_eq!(encrypted(several(attributes)).await, Ok(true), "{attributes}");
    }
    for attributes in ["standby", "read-only", "nonsense"] {
        assert!(encrypted(several(attributes)).await.is_err(), "{attributes}");
    }
}

#[tokio::test]
async fn a_server_that_takes_no_connection_is_told_from_one_that_is_not_there() {
    let Some(server) = Server::start() else { return };
    server.execute("CREATE ROLE late LOGIN CONNECTION LIMIT 0".into()).await;
    let socket = server.socket().display().to_string();
    let at = |host: String, port: &str| PostgresConfig {
        host: Some(host),
        port: Some(port.into()),
        user: Some("late".into()),
        database: Some("postgres".into()),
        ..PostgresConfig::default()
    };
    let error = open(&at(socket, "5432")).await.unwrap_err();
    assert!(matches!(error, DatabaseError::Refused { .. }), "{error:?}");
    let nobody = open(&at("127.0.0.1,127.0.0.2".into(), "1,2")).await.unwrap_err().to_string();
    let all = "PostgreSQL does not answer at 127.0.0.1, port 1, nor at 127.0.0.2, port 2; ";
    assert!(nobody.starts_with(all), "{nobody}");
}

/// The configuration of a role on a socket.
fn role(server: &Server, user: &str, options: Option<&str>) -> DatabaseConfig {
    DatabaseConfig::Postgres(PostgresConfig {
        host: Some(server.socket().display().to_string()),
        user: Some(user.into()),
        database: Some("postgres".into()),
        options: options.map(str::to_owned),
        ..PostgresConfig::default()
    })
}

#[tokio::test]
async fn tables_are_those_of_the_schema_that_synapse_uses() {
    let Some(server) = Server::start() else { return };
    let mut other = Fixture::new();
    other.sql("UPDATE users SET name = '@other:other.test'");
    other.fill(server.options()).await;
    server
        .execute(
            "CREATE SCHEMA matrix; CREATE SCHEMA app; CREATE TABLE app.devices (junk INTEGER)"
                .into(),
        )
        .await;
    Fixture::new().fill(server.options().options([("search_path", "matrix")])).await;

    let in_public = config(role(&server, "postgres", None));
    assert!(matches!(refusal(&in_public).await, DatabaseError::ServerName { .. }));
    // Another application's table of the same name comes first in the path.
    let path = Some(r"-c search_path=app,matrix,public");
    let source = opened(&config(role(&server, "postgres", path))).await;
    assert!(!source.facts.schema.has_column("devices", "junk"));
    assert!(source.facts.schema.has_column("devices", "device_id"));
}

#[tokio::test]
async fn a_role_without_rights_is_told_so() {
    let Some(server) = Server::start() else { return };
    server.execute("CREATE SCHEMA matrix; CREATE ROLE reader LOGIN".into()).await;
    Fixture::new().fill(server.options().options([("search_path", "matrix")])).await;
    let path = Some("-c search_path=matrix");
    let reader = config(role(&server, "reader", path));
    let of = async |config| refusal(config).await.to_string();
    let error = of(&reader).await;
    assert!(
        error.starts_with(
            "the role `reader` may not read its schema; connect as Synapse's own role"
        ),
        "{error}"
    );
    server
        .execute(
            "GRANT USAGE ON SCHEMA matrix TO reader; GRANT SELECT ON matrix.users TO reader".into(),
        )
        .await;
    let error = of(&reader).await;
    assert!(
        error.starts_with("the role `reader` may not read the table `")
            && error.contains(" others; "),
        "{error}"
    );
    let elsewhere = of(&config(role(&server, "reader", None))).await;
    assert!(
        elsewhere.contains("in the schema matrix, which is not in the search path"),
        "{elsewhere}"
    );
    server.execute("GRANT SELECT ON ALL TABLES IN SCHEMA matrix TO reader".into()).await;
    opened(&reader).await;
}
