//! `importer check` and `importer migrate` with the built command: what it refuses, and that a run which was ended
//! anywhere can be run again.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Output, Stdio},
};

use importer::{
    conduit::{
        schema::trees::TREES,
        store::{self, Backend},
    },
    dump::{DumpReader, format::FileEntry},
};
use migration_tests::{
    command,
    lab::{Engine, Lab},
};

type Rows = BTreeMap<(&'static str, Vec<u8>), Vec<u8>>;

fn rows(directory: &Path) -> Rows {
    let store = store::read(Backend::Rocksdb, directory).unwrap();
    let mut rows = Rows::new();
    for tree in TREES {
        for row in store.scan(tree, &[]).unwrap() {
            let (key, value) = row.unwrap();
            rows.insert((tree.name, key.to_vec()), value.to_vec());
        }
    }
    rows
}

fn files(dump: &Path) -> Vec<FileEntry> {
    DumpReader::open(dump, |_| {}).unwrap().manifest().files.clone()
}

fn expect(output: &Output, code: i32, text: &str) {
    let said =
        [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes)).concat();
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(said.contains(text), "{text:?} not in {said}");
}

/// Runs the command and sends it `signal` when it has finished `phases` phases of its work, of which each one says so on
/// standard error. Gives the exit code, if there is one.
fn end_after(phases: usize, signal: &str, arguments: &[&str]) -> Option<i32> {
    let mut child = command::new()
        .unwrap()
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let mut finished = lines.filter(|line| line.contains(" in ") && line.ends_with(" s"));
    assert_eq!(finished.by_ref().take(phases).count(), phases, "the run has fewer phases");
    let kill = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
    assert!(kill.success(), "the run was over before it could be ended");
    finished.for_each(drop);
    child.wait().unwrap().code()
}

#[test]
fn a_migration_that_was_ended_anywhere_can_be_run_again() {
    let lab = Lab::start(Engine::Sqlite).unwrap();
    let path = |name: &str| lab.path(name).to_str().unwrap().to_owned();
    let config = lab.note("config");
    let first = path("first");

    // While Synapse runs, `check` looks and `migrate` refuses. The laboratory has rooms of versions 1 and 2.
    let check =
        command::text(&["check", "--synapse-config", config, "--database", &first]).unwrap();
    expect(&check, 10, "error C301: ");
    let check = command::text(&["check", "--synapse-config", config, "--format", "json"]).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&check.stdout).unwrap();
    let first_finding = &json["findings"][0];
    assert_eq!(
        (&first_finding["severity"], &first_finding["code"]),
        (&"blocking".into(), &"C301".into())
    );
    let by_api = command::text(&[
        "check",
        "--homeserver",
        lab.note("base_url"),
        "--admin-token-file",
        lab.note("admin_token_file"),
        "--signing-key",
        lab.note("signing_key"),
        "--accept",
        "C301",
    ])
    .unwrap();
    expect(&by_api, 11, "warning C301: ");
    let migrate = |target: &str, more: &[&str]| {
        let arguments = ["migrate", "--synapse-config", config, "--database", target];
        command::text(&[&arguments, more].concat()).unwrap()
    };
    expect(&migrate(&first, &["--accept", "C301"]), 10, "error C113: ");
    lab.stop().unwrap();
    expect(&migrate(&first, &[]), 10, "--accept C301");
    expect(&migrate(&first, &["--accept", "C201"]), 2, "can't be accepted");
    assert!(!Path::new(&first).exists() && !Path::new(&format!("{first}.dump")).exists());

    // A whole run.
    // The rooms that stay behind are a warning.
    expect(&migrate(&first, &["--accept", "C301"]), 11, "report.html");
    let dump = format!("{first}.dump");
    let (expected, dumped) = (rows(Path::new(&first)), files(Path::new(&dump)));
    assert!(expected.len() > 3000);
    let report = std::fs::read_to_string(format!("{first}.report/report.json")).unwrap();
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert!(report["rooms"].as_array().unwrap().iter().any(|room| room["left_out"].is_string()));
    expect(&migrate(&first, &["--accept", "C301"]), 10, "error C503: ");
    let verify = command::text(&["verify", "--dump", &dump, "--database", &first]).unwrap();
    expect(&verify, 0, "");

    // The earlier dump is taken only if that is said.
    let second = path("second");
    let other = ["--accept", "C301", "--dump", &dump];
    expect(&migrate(&second, &other), 10, "error C507: ");

    // Ended while it dumps (phases 1 to 3, after the checks), again and again, with nothing that looks finished.
    let fresh = path("fresh");
    let arguments =
        ["migrate", "--synapse-config", config, "--accept", "C301", "--reuse-dump", "--database"];
    for (phases, signal, code) in [(1, "-KILL", None), (2, "-KILL", None), (2, "-INT", Some(1))] {
        let arguments = [&arguments[..], &[&fresh]].concat();
        assert_eq!(end_after(phases, signal, &arguments), code, "{signal} after {phases}");
        for name in ["", ".dump", ".report"] {
            assert!(!Path::new(&format!("{fresh}{name}")).exists(), "{name} after {phases}");
        }
    }
    expect(&migrate(&fresh, &["--accept", "C301", "--reuse-dump"]), 11, "");
    assert_eq!(files(Path::new(&format!("{fresh}.dump"))), dumped);

    // Ended while it checks the dump's files (phase 1), imports (2 to 5) and verifies (from 6 on).
    let arguments = [&arguments[..], &[&second, "--dump", &dump]].concat();
    for phases in 1..10 {
        for (signal, code) in [("-KILL", None), ("-INT", Some(1))] {
            let ended = end_after(phases, signal, &arguments);
            // Before the import, an interruption ends the process as the system does.
            assert!(ended == code || (phases == 1 && ended.is_none()), "{signal} after {phases}");
            assert!(!Path::new(&second).exists(), "{signal} after {phases}");
            assert!(!Path::new(&format!("{second}.report")).exists());
        }
    }
    expect(&command::text(&arguments).unwrap(), 11, "");
    assert!(rows(Path::new(&second)) == expected, "the rows differ after interruptions");
}
