//! What goes wrong, with which exit code, and whether the message helps.

use std::{fs, path::Path};

use importer::{
    conduit::store::{self, Backend},
    fs::atomic_dir::Partial,
};
use migration_tests::{
    command::{self, Run},
    lab::{Engine, Lab},
};

fn with(source: &[String], replace: &str, value: impl AsRef<Path>, dump: &Path) -> Vec<String> {
    let mut arguments = vec!["dump".to_owned()];
    arguments.extend(source.iter().cloned());
    if let Some(at) = arguments.iter().skip(1).position(|argument| argument == replace) {
        arguments[2..][at] = value.as_ref().to_string_lossy().into_owned();
    }
    arguments.extend(["--dump".to_owned(), dump.to_string_lossy().into_owned()]);
    arguments
}

#[test]
fn sources_that_can_not_be_read() {
    let lab = Lab::start(Engine::Sqlite).unwrap();
    let dump = lab.directory().join("dump");
    let api = lab.by_api();

    let plain = lab.directory().join("ben.token");
    let token = lab.access_token("ben");
    fs::write(&plain, token).unwrap();
    let Run { err, .. } = command::run(with(&api, "--admin-token-file", &plain, &dump)).unwrap();
    assert!(!err.contains(token), "the token is in the message");
    command::fails(with(&api, "--admin-token-file", &plain, &dump), 3, &["admin"]).unwrap();

    let nonsense = lab.directory().join("nonsense.token");
    fs::write(&nonsense, "nonsense").unwrap();
    command::fails(with(&api, "--admin-token-file", &nonsense, &dump), 3, &["token"]).unwrap();

    let key = lab.directory().join("other.key");
    fs::write(&key, "ed25519 lab1 QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE\n").unwrap();
    command::fails(with(&api, "--signing-key", &key, &dump), 3, &["key"]).unwrap();

    let missing = lab.path("missing");
    for (source, option) in [
        (&api, "--admin-token-file"),
        (&api, "--signing-key"),
        (&lab.by_database(), "--synapse-config"),
    ] {
        command::fails(with(source, option, &missing, &dump), 3, &["missing", "No such file"])
            .unwrap();
    }

    lab.stop().unwrap();
    command::fails(
        with(&api, "", "", &dump),
        3,
        &[lab.note("base_url").trim_start_matches("http://")],
    )
    .unwrap();
    assert!(!dump.exists(), "a failed dump left a directory");
}

#[test]
fn dumps_that_are_damaged_and_targets_that_are_in_use() {
    let lab = Lab::stopped().unwrap();
    let dump = lab.directory().join("dump");
    command::dump(&lab.by_database(), &dump).unwrap();
    let target = lab.directory().join("conduit");
    let import = |dump: &Path, target: &Path| {
        command::import_arguments(dump, target, "rocksdb").map(ToOwned::to_owned)
    };

    // Again into the same place: the dump and the target both refuse.
    command::fails(with(&lab.by_database(), "", "", &dump), 5, &["dump", "empty"]).unwrap();
    fs::create_dir(&target).unwrap();
    fs::write(target.join("something"), "").unwrap();
    command::fails(import(&dump, &target), 5, &["conduit", "empty"]).unwrap();
    assert!(target.join("something").exists());
    fs::remove_dir_all(&target).unwrap();

    command::fails(import(&lab.directory().join("nowhere"), &target), 4, &["nowhere"]).unwrap();

    let server = dump.join("server.json");
    let good = fs::read(&server).unwrap();
    let mut bad = good.clone();
    let last = bad.iter().rposition(|byte| *byte == b'}').unwrap();
    bad[last] = b' ';
    fs::write(&server, &bad).unwrap();
    command::fails(import(&dump, &target), 4, &["server.json"]).unwrap();
    fs::write(&server, &good[..good.len() / 2]).unwrap();
    command::fails(import(&dump, &target), 4, &["server.json"]).unwrap();
    fs::remove_file(&server).unwrap();
    command::fails(import(&dump, &target), 4, &["server.json"]).unwrap();
    fs::write(&server, &good).unwrap();

    let manifest = dump.join("manifest.json");
    let held = fs::read(&manifest).unwrap();
    fs::remove_file(&manifest).unwrap();
    command::fails(import(&dump, &target), 4, &["manifest.json"]).unwrap();
    fs::write(&manifest, "{").unwrap();
    command::fails(import(&dump, &target), 4, &["manifest.json"]).unwrap();
    fs::write(&manifest, held).unwrap();
    assert!(!target.exists(), "a failed import left a database");

    // And it is whole again.
    command::import(&dump, &target, "sqlite").unwrap();
}

/// Runs SQL on the laboratory's Synapse database.
fn change(lab: &Lab, sql: &str) {
    let database = rusqlite::Connection::open(lab.path("homeserver.db")).unwrap();
    database.execute_batch(sql).unwrap();
}

/// A Synapse that can't be read has an exit code of its own, whichever command says so.
#[test]
fn a_postgresql_that_is_down() {
    let scratch = tempfile::tempdir().unwrap();
    let path = |name: &str| scratch.path().join(name).to_string_lossy().into_owned();
    let config = path("homeserver.yaml");
    let text = format!(
        "server_name: own.test\nsigning_key: ed25519 a AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\n\
         database: {{name: psycopg2, args: {{user: synapse, dbname: synapse, host: '{}'}}}}\n",
        path("nowhere")
    );
    fs::write(&config, text).unwrap();
    let of = ["--synapse-config", &config];
    for command in ["check", "migrate"] {
        let run =
            command::run([command].iter().chain(&of).chain(&["--database", &path("conduit")]));
        let Run { code, out, err } = run.unwrap();
        assert!(code == 3 && out.contains("C104"), "{command}: {code}: {out}{err}");
    }
    let dump = ["--dump", &path("dump")];
    command::fails(["dump"].iter().chain(&of).chain(&dump), 3, &["PostgreSQL"]).unwrap();
}

#[test]
fn a_schema_that_is_too_old() {
    let lab = Lab::stopped().unwrap();
    change(&lab, "UPDATE schema_version SET version = 60");
    let arguments = with(&lab.by_database(), "", "", &lab.path("dump"));
    command::fails(arguments, 3, &["schema version 60", "start Synapse 1.68.0 on it"]).unwrap();
}

#[test]
fn users_of_another_server_name_are_left_out_and_nothing_else() {
    let mut lab = Lab::stopped().unwrap();
    let before = command::dump(&lab.by_database(), &lab.path("before")).unwrap();
    change(
        &lab,
        "INSERT INTO users (name, creation_ts, admin, is_guest, deactivated)
            VALUES ('@old:former.test', 1600000000, 0, 0, 0);
         INSERT INTO profiles (user_id, full_user_id, displayname) VALUES ('old', '@old:former.test', 'Old');
         INSERT INTO devices (user_id, device_id, display_name, hidden)
            VALUES ('@old:former.test', 'PHONE', 'Phone', 0);
         INSERT INTO access_tokens (id, user_id, device_id, token)
            VALUES (900000, '@old:former.test', 'PHONE', 'syt_former');",
    );
    let by_database = command::dump(&lab.by_database(), &lab.path("database")).unwrap();
    assert_eq!(before["files"], by_database["files"]);
    lab.resume().unwrap();
    let by_api = command::dump(&lab.by_api(), &lab.path("api")).unwrap();
    for manifest in [by_database, by_api] {
        let skipped = manifest["tally"]["skipped"].as_array().unwrap();
        let users: Vec<_> = skipped.iter().filter(|skip| skip["kind"] == "user").collect();
        assert_eq!(users.len(), 1, "{users:?}");
        // The APIs say with it what it is an item of.
        assert!(users[0]["item"].as_str().unwrap().ends_with("@old:former.test"), "{users:?}");
        assert_eq!(users[0]["reason"], "foreign-user");
        assert_eq!(manifest["tally"]["written"]["user"], before["tally"]["written"]["user"]);
    }
}

#[test]
fn databases_that_are_in_use() {
    let scratch = tempfile::tempdir().unwrap();
    let [database, target, nowhere] =
        ["conduit", "target", "nowhere"].map(|name| scratch.path().join(name));
    let conduit = store::create(&store::NewStore::of_conduit(Backend::Rocksdb, &database)).unwrap();
    let verify = [
        "verify".as_ref(),
        "--server-name".as_ref(),
        "own.test".as_ref(),
        "--database".as_ref(),
        database.as_os_str(),
    ];
    command::fails(verify, 5, &["conduit", "stop the server first"]).unwrap();
    drop(conduit);
    assert_ne!(command::run(verify).unwrap().code, 5, "nobody uses it any more");

    let importer = Partial::create(&target).unwrap();
    let import = command::import_arguments(&nowhere, &target, "rocksdb");
    command::fails(import, 5, &["another importer", "target.partial"]).unwrap();
    drop(importer);
    command::fails(import, 4, &["nowhere"]).unwrap();
}

#[test]
fn a_missing_configuration_of_conduit() {
    let scratch = tempfile::tempdir().unwrap();
    let [config, dump] = ["conduit.toml", "dump"].map(|name| scratch.path().join(name));
    let arguments = [
        "import".as_ref(),
        "--dump".as_ref(),
        dump.as_os_str(),
        "--conduit-config".as_ref(),
        config.as_os_str(),
    ];
    command::fails(arguments, 2, &["conduit.toml", "--conduit-config"]).unwrap();

    // One that names no directory for media.
    fs::write(&config, "[global]\nserver_name = \"own.test\"\ndatabase_path = \"/nowhere\"\ndatabase_backend = \"rocksdb\"\n\
                        [global.media]\nbackend = \"s3\"\nendpoint = \"http://127.0.0.1\"\nbucket = \"b\"\nregion = \"r\"\nkey = \"k\"\nsecret = \"s\"\n").unwrap();
    command::fails(arguments, 2, &["S3 bucket", "--media-directory"]).unwrap();
    fs::remove_file(&config).unwrap();

    // `check` tells all that it finds, in order.
    let nowhere = scratch.path().join("homeserver.yaml");
    let [nowhere, config] = [&nowhere, &config].map(|path| path.to_str().unwrap());
    let check = ["check", "--synapse-config", nowhere, "--conduit-config", config];
    let Run { code, out, .. } = command::run(check).unwrap();
    let found: serde_json::Value = serde_json::from_str(&out).unwrap();
    let findings = found["findings"].as_array().unwrap().iter();
    let codes: Vec<_> = findings.map(|finding| finding["code"].as_str().unwrap()).collect();
    assert_eq!((code, codes), (3, vec!["C101", "C501"]), "{out}");
}
