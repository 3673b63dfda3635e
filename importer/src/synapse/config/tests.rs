use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use secrecy::ExposeSecret;
use tempfile::TempDir;

use super::{
    ConfigError, Configuration, DatabaseConfig, Given, PathMap, SynapseConfig, parse_signing_keys,
};

const SEED: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

/// A configuration directory.
struct Files(TempDir);

impl Files {
    fn new(files: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(directory.path().join(name), text).unwrap();
        }
        Self(directory)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn read(&self, names: &[&str]) -> Result<SynapseConfig, ConfigError> {
        SynapseConfig::read(&names.iter().map(|name| self.path(name)).collect::<Vec<_>>())
    }
}

fn sqlite_path(config: &DatabaseConfig) -> Option<&Path> {
    match config {
        DatabaseConfig::Sqlite { path } => Some(path),
        DatabaseConfig::Postgres(_) => None,
    }
}

#[test]
fn a_whole_configuration_is_read_with_the_files_it_names() {
    let files = Files::new(&[
        (
            "homeserver.yaml",
            "server_name: own.test\n\
             database: {name: sqlite3, args: {database: homeserver.db}}\n\
             signing_key_path: signing.key\n\
             old_signing_keys: {'ed25519:b': {key: 'cHVi=', expired_ts: '7'}, 'ed25519:a': {key: cHVi, expired_ts: 8}, 'ed25519:c': {key: cHVi, expired_ts: 1.5767e+12}}\n\
             password_config: {pepper: P}\n\
             media_store_path: media\n\
             app_service_config_files: [bridge.yaml]\n\
             experimental_features: {msc3391_enabled: true, msc4210_enabled: false}\n\
             listeners: [{port: 8008}]\n",
        ),
        ("signing.key", &format!("ed25519 a_new {SEED}\n\ned25519 a_further {SEED}=\n")),
        ("bridge.yaml", "id: bridge # a comment\nas_token: secret\n"),
        ("homeserver.db", ""),
        ("media", ""),
    ]);
    let config = files.read(&["homeserver.yaml"]).unwrap();
    assert_eq!(config.server_name, "own.test");
    assert_eq!(sqlite_path(&config.database), Some(files.path("homeserver.db").as_path()));
    assert!(config.state_database.is_none());
    assert_eq!(
        (config.signing_key.version.as_str(), config.signing_key.seed.expose_secret()),
        ("a_new", SEED)
    );
    let [further] = config.further_signing_keys.as_slice() else { panic!("one further key") };
    assert_eq!((further.version.as_str(), further.seed.expose_secret()), ("a_further", SEED));
    let old: Vec<_> = config
        .old_signing_keys
        .iter()
        .map(|key| (key.key_id.as_str(), key.public_key.as_str(), key.expired_ts))
        .collect();
    let expected = [
        ("ed25519:a", "cHVi", 8),
        ("ed25519:b", "cHVi", 7),
        ("ed25519:c", "cHVi", 1_576_700_000_000),
    ];
    assert_eq!(old, expected);
    assert_eq!(config.password_pepper.unwrap().expose_secret(), "P");
    assert_eq!(config.media_store_path, files.path("media"));
    let [bridge] = config.appservices.as_slice() else { panic!("one application service") };
    assert_eq!(
        (bridge.id.as_str(), bridge.registration.expose_secret()),
        ("bridge", "id: bridge # a comment\nas_token: secret\n")
    );
    assert_eq!(config.experimental_features, BTreeSet::from(["msc3391_enabled".to_owned()]));
    assert!(!config.delegated_auth && !config.workers);
}

/// A configuration that lacks only what is given.
fn with(text: &str) -> Result<SynapseConfig, ConfigError> {
    let base = format!("server_name: own.test\nsigning_key: ed25519 a {SEED}\n");
    Files::new(&[("a.yaml", &base), ("b.yaml", text)]).read(&["a.yaml", "b.yaml"])
}

#[test]
fn later_files_replace_whole_keys_and_directories_are_sorted() {
    let files = Files::new(&[
        (
            "1.yaml",
            &format!(
                "server_name: first.test\nsigning_key: ed25519 a {SEED}\npassword_config: {{pepper: first}}\n"
            ),
        ),
        (
            "2.yaml",
            "server_name: second.test\npassword_config: {enabled: true}\ndatabase: {args: {database: x.db}}\n",
        ),
        ("2.yml", "server_name: ignored.test\n"),
    ]);
    let config = SynapseConfig::read(&[files.0.path().to_owned()]).unwrap();
    assert_eq!(config.server_name, "second.test");
    assert!(config.password_pepper.is_none());
    assert_eq!(sqlite_path(&config.database), Some(Path::new("x.db")));
    assert_eq!(config.media_store_path, Path::new("media_store"));
}

#[test]
fn postgres_arguments_may_be_numbers() {
    let config = with("database: {name: psycopg2, args: {user: synapse, password: 12345, dbname: db, host: /run/pg, port: 5433, sslmode: require, cp_max: 10}}").unwrap();
    let DatabaseConfig::Postgres(postgres) = config.database else { panic!("not PostgreSQL") };
    assert_eq!(
        (
            postgres.user.as_deref(),
            postgres.database.as_deref(),
            postgres.host.as_deref(),
            postgres.port.as_deref(),
            postgres.sslmode.as_deref()
        ),
        (Some("synapse"), Some("db"), Some("/run/pg"), Some("5433"), Some("require"))
    );
    assert_eq!(postgres.password.unwrap().expose_secret(), "12345");
}

#[test]
fn several_databases_need_one_for_each_store_of_one_engine() {
    let sqlite = |name: &str, stores: &str| {
        format!("{name}: {{name: sqlite3, args: {{database: {name}}}{stores}}}")
    };
    let both = |a: &str, b: &str| with(&format!("databases: {{{a}, {b}}}"));
    let one = with(&format!("databases: {{{}}}", sqlite("all", ""))).unwrap();
    assert_eq!(
        (sqlite_path(&one.database), one.state_database.is_none()),
        (Some(Path::new("all")), true)
    );
    let two = both(&sqlite("m", ", data_stores: [main]"), &sqlite("s", ", data_stores: [state]"))
        .unwrap();
    assert_eq!(sqlite_path(&two.database), Some(Path::new("m")));
    assert_eq!(two.state_database.as_ref().and_then(sqlite_path), Some(Path::new("s")));
    let twice = both(&sqlite("m", ""), &sqlite("s", ", data_stores: [state]"));
    assert!(matches!(twice, Err(ConfigError::DataStores)));
    let none = with(&format!("databases: {{{}}}", sqlite("m", ", data_stores: [main]")));
    assert!(matches!(none, Err(ConfigError::DataStores)));
    let mixed =
        both(&sqlite("m", ", data_stores: [main]"), "s: {name: psycopg2, data_stores: [state]}");
    assert!(matches!(mixed, Err(ConfigError::DataStores)));
}

#[test]
fn delegated_logins_and_workers_are_noticed() {
    let database = "database: {args: {database: x}}";
    let flags = |text: &str| {
        let config = with(&format!("{database}\n{text}")).unwrap();
        (config.delegated_auth, config.workers)
    };
    assert_eq!(flags(""), (false, false));
    assert_eq!(flags("matrix_authentication_service: {enabled: true}"), (true, false));
    assert_eq!(flags("matrix_authentication_service: {enabled: false}"), (false, false));
    assert_eq!(flags("experimental_features: {msc3861: {enabled: true}}"), (true, false));
    assert_eq!(flags("redis: {enabled: yes}"), (false, true));
    assert_eq!(flags("instance_map: {main: {host: h, port: 1}}"), (false, true));
}

/// `python -m synapse.config` reads configurations, not registrations.
#[test]
fn a_registration_that_is_no_yaml_is_named_as_one() {
    let files = Files::new(&[
        (
            "homeserver.yaml",
            "server_name: own.test\ndatabase: {name: sqlite3, args: {database: homeserver.db}}\n\
             signing_key_path: signing.key\napp_service_config_files: [bridge.yaml]\n",
        ),
        ("signing.key", &format!("ed25519 a {SEED}\n")),
        ("bridge.yaml", "id: bridge\n{\n"),
        ("homeserver.db", ""),
    ]);
    let error = files.read(&["homeserver.yaml"]).unwrap_err();
    assert!(matches!(error, ConfigError::RegistrationSyntax { .. }), "{error}");
    assert!(!error.to_string().contains("synapse.config"), "{error}");
}

#[test]
fn what_is_wrong_is_named_and_no_value_is_shown() {
    for (text, error) in [
        ("{", "b.yaml`, line"),
        ("a: !planted-secret b", "b.yaml`, line 1"),
        ("[planted-secret]", "the configuration has no `database`"),
        (
            "database: {name: psycopg2, args: {sslcrl: planted-secret}}",
            "connection setting `database.args.sslcrl`",
        ),
        (
            "database: {args: {database: planted-secret, uri: true}}",
            "connection setting `database.args.uri`",
        ),
        (
            "database: {name: psycopg2, args: {service: planted-secret}}",
            "names a PostgreSQL connection service",
        ),
        ("database: planted-secret", "`database` of the configuration has a form"),
        ("database: {name: psycopg2, args: {dsn: planted-secret}}", "`database.args.dsn` of"),
        ("database: {name: mysql}", "names the database engine `mysql`"),
        ("database: {name: sqlite3}", "`database.args.database` of"),
        ("{}", "the configuration has no `database`"),
        ("server_name: 'not a name'", "`server_name` of"),
        (
            "{database: {args: {database: x}}, signing_key: ed25519 a planted-secret}",
            "`signing_key`, line 1: expected `ed25519 VERSION SEED`",
        ),
        (
            "{database: {args: {database: x}}, signing_key: null, signing_key_path: nowhere.key}",
            "can't be read: `nowhere.key` (`signing_key_path`: No such file",
        ),
        (
            "{database: {args: {database: x}}, app_service_config_files: [nowhere.yaml]}",
            "can't be read: `nowhere.yaml` (`app_service_config_files`: No such file",
        ),
        (
            "{database: {args: {database: x}}, password_config: planted-secret}",
            "`password_config` of",
        ),
        (
            "{database: {args: {database: x}}, old_signing_keys: {a: planted-secret}}",
            "`old_signing_keys` of",
        ),
    ] {
        let found = with(text).unwrap_err();
        assert!(found.to_string().contains(error), "{text}: {found}");
        assert!(!format!("{found} {found:?}").contains("planted-secret"), "{text}: {found:?}");
    }
    let registration = Files::new(&[
        (
            "a.yaml",
            &format!(
                "server_name: own.test\nsigning_key: ed25519 a {SEED}\ndatabase: {{args: {{database: x}}}}\napp_service_config_files: [as.yaml]\n"
            ),
        ),
        ("as.yaml", "as_token: planted-secret\n"),
    ]);
    let found = registration.read(&["a.yaml"]).unwrap_err();
    assert!(
        found
            .to_string()
            .ends_with("as.yaml` has no `id`: it is no registration of an application service")
    );
}

#[test]
fn signing_keys_are_three_words_a_line() {
    let refused = |text: &str| match parse_signing_keys("f", text) {
        Err(ConfigError::SigningKey { line, .. }) => Some(line),
        _ => None,
    };
    assert_eq!(refused(&format!("ed25519 a {SEED}")), None);
    assert_eq!(refused(""), Some(1));
    assert_eq!(refused(&format!("ed25519 a {SEED}\n\nrsa b {SEED}")), Some(3));
    assert_eq!(refused(&format!("ed25519 {SEED}")), Some(1));
    assert_eq!(refused(&format!("ed25519 a {SEED} more")), Some(1));
    assert_eq!(refused("ed25519 a AAAA"), Some(1));
    assert_eq!(refused("ed25519 a *"), Some(1));
}

#[test]
fn the_default_key_file_is_beside_the_last_configuration_file() {
    let key = |version: &str| format!("ed25519 {version} {SEED}\n");
    let files = Files::new(&[
        ("a.yaml", "server_name: own.test\ndatabase: {args: {database: x}}\n"),
        ("own.test.signing.key", &key("first")),
    ]);
    let last = files.path("conf.d");
    std::fs::create_dir(&last).unwrap();
    std::fs::write(last.join("b.yaml"), "# nothing\n").unwrap();
    let version = |files: &[PathBuf]| {
        SynapseConfig::read(files)
            .map(|config| config.signing_key.version)
            .map_err(|error| error.to_string())
    };
    let missing = version(&[files.path("a.yaml"), last.clone()]).unwrap_err();
    assert!(
        missing.contains("conf.d/own.test.signing.key` (`signing_key_path`: No such file"),
        "{missing}"
    );
    std::fs::write(last.join("own.test.signing.key"), key("last")).unwrap();
    assert_eq!(version(&[files.path("a.yaml"), last.clone()]), Ok("last".into()));
    assert_eq!(version(&[last, files.path("a.yaml")]), Ok("first".into()));
}

#[test]
fn paths_of_a_container_are_mapped_or_a_map_is_proposed() {
    let files = Files::new(&[
        (
            "a.yaml",
            "server_name: own.test\nsigning_key_path: /data/own.key\nmedia_store_path: /data/media\n\
             database: {args: {database: /data/homeserver.db}}\n",
        ),
        ("own.key", &format!("ed25519 a {SEED}\n")),
        ("media", ""),
        ("homeserver.db", ""),
    ]);
    let here = files.0.path().canonicalize().unwrap();
    let mut given = Given { files: vec![files.path("a.yaml")], ..Given::default() };
    let option = format!("--map-path /data={}", here.display());
    // All of them at once.
    let refused = Configuration::read(&given).unwrap_err();
    let ConfigError::Several { files: unreadable } = &refused else { panic!("{refused}") };
    let said = refused.to_string();
    for (file, path) in
        unreadable.iter().zip(["/data/own.key", "/data/homeserver.db", "/data/media"])
    {
        assert_eq!(file.path, Path::new(path));
        assert!(said.contains(&format!("`{path}`")), "{said}");
    }
    assert_eq!(unreadable.len(), 3);
    // What helps against all is said once.
    assert!(said.ends_with(&format!("; if Synapse runs in a container, add `{option}`")), "{said}");
    assert_eq!(said.matches("--map-path").count(), 1);
    std::fs::write(files.path("b.yaml"), format!("signing_key: ed25519 a {SEED}\n")).unwrap();
    given.files.push(files.path("b.yaml"));
    let proposed = Configuration::read(&given).unwrap().deployment.proposed_paths;
    assert_eq!(proposed.iter().map(ToString::to_string).collect::<Vec<_>>(), [option]);
    given.map = PathMap::new(proposed);
    let Configuration { config: synapse, deployment, .. } = Configuration::read(&given).unwrap();
    assert_eq!(synapse.media_store_path, here.join("media"));
    assert_eq!(sqlite_path(&synapse.database), Some(here.join("homeserver.db").as_path()));
    assert!(deployment.proposed_paths.is_empty());
}

#[test]
fn settings_that_are_given_replace_those_of_the_configuration() {
    let text = "database: {name: psycopg2, args: {host: db, hostaddr: 10.0.0.1, user: synapse, password: pw, dbname: matrix}}\n";
    let files = Files::new(&[(
        "a.yaml",
        &format!("server_name: own.test\nsigning_key: ed25519 a {SEED}\n{text}"),
    )]);
    let read = |database: &str, password: Option<&str>| {
        let given = Given {
            files: vec![files.path("a.yaml")],
            database: Some(database.parse().unwrap()),
            database_password: password.map(Into::into),
            ..Given::default()
        };
        let DatabaseConfig::Postgres(config) = Configuration::read(&given).unwrap().config.database
        else {
            panic!("not PostgreSQL")
        };
        [
            config.host,
            config.hostaddr,
            config.port,
            config.user,
            config.password.map(|password| password.expose_secret().to_owned()),
            config.database,
        ]
    };
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(
        read("host=127.0.0.1 port=5433", None),
        [text("127.0.0.1"), None, text("5433"), text("synapse"), text("pw"), text("matrix")]
    );
    assert_eq!(
        read("postgresql://me@localhost/other", Some("secret")),
        [text("localhost"), None, None, text("me"), text("secret"), text("other")]
    );
}
