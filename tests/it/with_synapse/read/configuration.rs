//! Configurations as operators have them, read by Synapse itself and by the importer: both must come to the same.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use base64::{Engine as _, prelude::BASE64_STANDARD_NO_PAD as STANDARD_NO_PAD};
use importer::synapse::config::{Configuration, DatabaseConfig, Given};
use migration_tests::{
    command::{self, Run},
    lab::{self, Lab},
};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

/// Seeds of keys: 32 bytes in base64.
const SEED: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

/// Files of all cases, below one directory. `cwd` is where Synapse runs.
const FILES: &[(&str, &str)] = &[
    ("base.yaml", "server_name: own.test\nreport_stats: false\nsigning_key: ed25519 inline SEED\n"),
    ("late.yaml", "password_config: {enabled: true}\nserver_name: late.test\n"),
    (
        "split/conf.d/10.yaml",
        "server_name: split.test\nreport_stats: no\npassword_config: {pepper: one}\n",
    ),
    (
        "split/conf.d/20.yaml",
        "password_config: {pepper: two}\ndatabase: {args: {database: /x.db}}\n",
    ),
    ("split/conf.d/30.yml", "server_name: not.read\n"),
    ("split/conf.d/40.yaml.bak", "server_name: not.read\n"),
    ("split/conf.d/50.yaml/x.yaml", "server_name: not.read\n"),
    ("split/conf.d/split.test.signing.key", "ed25519 beside SEED\n"),
    (
        "split/first.yaml",
        "server_name: first.test\nreport_stats: false\ndatabase: {args: {database: /y.db}}\n",
    ),
    ("split/first.test.signing.key", "ed25519 wrong SEED\n"),
    ("split/conf.d/first.test.signing.key", "ed25519 right SEED\n"),
    ("cwd/split.test.signing.key", "ed25519 decoy SEED\n"),
    ("cwd/first.test.signing.key", "ed25519 decoy SEED\n"),
    ("cwd/relative.key", "ed25519 relative SEED\ned25519 further SEED\n"),
    ("empty.yaml", "# nothing\n"),
    ("list.yaml", "[a, b]\n"),
];

/// Further files of one case each, after `base.yaml`.
const CASES: &[&str] = &[
    "database: {args: {database: /x.db}}\n",
    "database: {name: sqlite3, args: {database: /x.db, timeout: 5}}\n",
    "database_path: /x.db\n",
    "database: {}\ndatabase_path: /x.db\n",
    "database: {args: {database: /y.db}}\ndatabase_path: /x.db\n",
    "databases: {all: {args: {database: /x.db}}}\n",
    "databases: {a: {args: {database: /x.db}}}\ndatabase: {args: {database: /y.db}}\n",
    "server_name: one.test\nserver_name: two.test\ndatabase: {args: {database: /x.db}}\n",
    "database:\n  args: {database: /x.db}\n  name: sqlite3\n  name: psycopg2\n  args: {host: h, dbname: d}\n",
    "database: {name: psycopg2, args: {user: 012345, password: yes, host: h, port: 5433, cp_max: 5}}\n",
    "database: {name: psycopg2, args: {user: 1_000, password: 12e34, host: '', port: '1,2', database: d}}\n",
    "database: {name: psycopg2, args: {user: 0x1F, password: 1.50, host: 'a,b', dbname: 1:30}}\n",
    "database: {name: psycopg2, args: {user: ~, password: no, host: /run/pg, dbname: 0o17}}\n",
    "database: {name: psycopg2, args: {password: 123456789012345678901234567890, host: h}}\n",
    "database: {name: psycopg2, args: {dsn: \"host=x dbname='a b' user=u\", user: v, options: '-c search_path=m'}}\n",
    "database: {name: psycopg2, args: {dsn: 'postgresql://u:p%20w@h:1/d?sslmode=require'}}\n",
    "database: {name: psycopg2, args: {dbname: 'postgresql://u@h/d', host: h}}\n",
    "database: {name: psycopg2, args: {dbname: d, database: e}}\n",
    "database: {name: mysql}\n",
    "x: &x {host: h, port: 1}\ndatabase: {name: psycopg2, args: {<<: *x, port: 2}}\n",
    "database: {args: {database: /x.db}}\nold_signing_keys: {'ed25519:old': {key: A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg, expired_ts: '123'}}\n",
    "database: {args: {database: /x.db}}\nold_signing_keys: {'ed25519:old': {key: A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg, expired_ts: 456}}\n",
    "database: {args: {database: /x.db}}\nmedia_store_path: media\npassword_config: {pepper: 'a b'}\n",
    "database: {args: {database: /x.db}} # caf\u{e9}\n",
    "database: {args: {database: !vault x}}\n",
    "database: {args: {database: /x.db}}\n---\nserver_name: second.test\n",
    "database: {args: {database: [/x.db}}\n",
    "database: {args: {database: *nowhere}}\n",
];

fn python(cwd: &Path, cases: &[Vec<String>]) -> anyhow::Result<Vec<Value>> {
    let arguments: Vec<Vec<&str>> = cases
        .iter()
        .map(|files| files.iter().flat_map(|file| ["-c", file.as_str()]).collect())
        .collect();
    let mut child = Command::new(lab::python()?)
        .args(["-c", include_str!("configuration/synapses.py")])
        .current_dir(cwd)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    child.stdin.take().unwrap().write_all(serde_json::to_string(&arguments)?.as_bytes())?;
    let output = child.wait_with_output()?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// What the importer makes of the same files.
fn ours(cwd: &Path, files: &[String]) -> Value {
    let given = Given { files: files.iter().map(PathBuf::from).collect(), ..Given::default() };
    let Ok(Configuration { config: synapse, .. }) = Configuration::read(&given) else {
        return Value::Null;
    };
    let keys = [&synapse.signing_key].into_iter().chain(&synapse.further_signing_keys);
    let old: serde_json::Map<_, _> = synapse
        .old_signing_keys
        .iter()
        .map(|key| (key.key_id.clone(), json!(key.expired_ts)))
        .collect();
    json!({
        "server_name": synapse.server_name,
        "keys": keys.map(|key| key.version.clone()).collect::<Vec<_>>(),
        "old_keys": old,
        "databases": [database(&synapse.database)],
        "media": cwd.join(&synapse.media_store_path),
        "appservices": [],
        "pepper": synapse.password_pepper.map(|pepper| secret(&pepper)),
    })
}

fn secret(text: &SecretString) -> String {
    text.expose_secret().to_owned()
}

fn database(config: &DatabaseConfig) -> Value {
    let config = match config {
        DatabaseConfig::Sqlite { path } => return json!({ "sqlite": path }),
        DatabaseConfig::Postgres(config) => config,
    };
    let mut settings = serde_json::Map::new();
    for (key, value) in [
        ("host", &config.host),
        ("hostaddr", &config.hostaddr),
        ("port", &config.port),
        ("user", &config.user),
        ("password", &config.password.as_ref().map(secret)),
        ("dbname", &config.database),
        ("options", &config.options),
        ("sslmode", &config.sslmode),
    ] {
        if let Some(value) = value {
            settings.insert(key.into(), json!(value));
        }
    }
    Value::Object(settings)
}

#[test]
fn the_importer_reads_what_synapse_reads() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let root = directory.path().canonicalize()?;
    for (name, text) in FILES {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap())?;
        fs::write(path, text.replace("SEED", SEED))?;
    }
    let at = |name: &str| root.join(name).display().to_string();
    let mut cases = vec![
        vec![at("split/conf.d")],
        vec![at("split/first.yaml"), at("split/conf.d")],
        vec![at("split/conf.d"), at("split/first.yaml")],
        vec![at("base.yaml"), at("split/conf.d"), at("late.yaml")],
        vec![at("base.yaml"), at("empty.yaml"), at("split/conf.d/20.yaml")],
        vec![at("base.yaml"), at("list.yaml"), at("split/conf.d/20.yaml")],
        vec![at("base.yaml")],
        vec![at("nowhere.yaml")],
        vec![at("split/conf.d/50.yaml/nothing")],
    ];
    for (number, text) in CASES.iter().enumerate() {
        let name = format!("case{number}.yaml");
        // One of them is Latin-1.
        let bytes: Vec<u8> = if text.contains('\u{e9}') {
            text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect()
        } else {
            text.bytes().collect()
        };
        fs::write(root.join(&name), bytes)?;
        cases.push(vec![at("base.yaml"), at(&name)]);
    }
    let cwd = root.join("cwd");
    let synapses = python(&cwd, &cases)?;
    assert_eq!(synapses.len(), cases.len());
    let mut refused = 0;
    for (files, synapses) in cases.iter().zip(&synapses) {
        let text = fs::read(files.last().unwrap()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        assert_eq!(&ours(&cwd, files), synapses, "{files:?}: {text}");
        refused += u64::from(synapses.is_null());
    }
    // Neither may hide behind refusing everything.
    assert!((8..20).contains(&refused), "{refused} were refused");
    Ok(())
}

#[test]
fn another_key_than_the_one_that_signed_stops_the_migration() -> anyhow::Result<()> {
    let lab = Lab::stopped()?;
    let [dump, database] = ["dump", "conduit"].map(|name| lab.directory().join(name));
    let migrate = || -> anyhow::Result<Run> {
        let mut arguments = ["migrate", "--accept", "C301"].map(str::to_owned).to_vec();
        arguments.extend(lab.by_database());
        for (option, path) in [("--dump", &dump), ("--database", &database)] {
            arguments.extend([option.to_owned(), path.display().to_string()]);
        }
        command::run(arguments)
    };
    let key = PathBuf::from(lab.note("signing_key"));
    let right = fs::read_to_string(&key)?;
    let version = right.split(' ').nth(1).unwrap();
    for wrong in [version, "other"] {
        fs::write(&key, format!("ed25519 {wrong} {SEED}\n"))?;
        let run = migrate()?;
        assert_eq!((run.code, run.blocking()?), (10, vec!["C118".to_owned()]), "{}", run.out);
        assert!(!dump.exists() && !database.exists());
    }
    // The key of before is known as an old one: Synapse has changed it, and the migration goes on.
    let config = lab.directory().join("old.yaml");
    fs::write(&key, format!("ed25519 other {SEED}\n"))?;
    let old = format!("{{'ed25519:{version}': {{key: {}, expired_ts: '1'}}}}", public(&right));
    fs::write(&config, format!("old_signing_keys: {old}\n"))?;
    let mut arguments = vec!["check".to_owned()];
    arguments.extend(lab.by_database());
    arguments.extend(["--synapse-config".to_owned(), config.display().to_string()]);
    arguments.extend(["--accept", "C301"].map(str::to_owned));
    let Run { code, out, .. } = command::run(arguments)?;
    assert!(code != 10 && !out.contains("C118"), "{code}: {out}");
    Ok(())
}

/// The public key of a line of a key file.
fn public(line: &str) -> String {
    let seed = line.trim().rsplit(' ').next().unwrap();
    let seed = STANDARD_NO_PAD.decode(seed).unwrap();
    let key = ed25519_dalek::SigningKey::from_bytes(&seed.try_into().unwrap());
    STANDARD_NO_PAD.encode(key.verifying_key().as_bytes())
}
