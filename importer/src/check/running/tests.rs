use std::{
    net::TcpListener,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command},
};

use super::running;
use crate::{
    check::Checks,
    fs::open_by::tests::Other,
    source::survey::{DatabaseFacts, Survey},
    synapse::config::{Deployment, SynapseConfig},
};

fn subjects(deployment: &Deployment, config: Option<&SynapseConfig>) -> Vec<String> {
    let found = running(deployment, config, 0);
    assert!(found.iter().all(|finding| finding.code == "C113"), "{found:?}");
    found.into_iter().map(|finding| finding.subject).collect()
}

#[test]
fn whatever_listens_at_its_address_tells() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let deployment = Deployment { listeners: vec![address], ..Deployment::default() };
    assert_eq!(subjects(&deployment, None), [address.to_string()]);
    drop(listener);
    assert_eq!(subjects(&deployment, None), [""; 0]);
}

/// A process that calls itself `name`.
fn named(name: &str) -> Child {
    Command::new("sleep").arg0(name).arg("60").spawn().unwrap()
}

fn end(mut process: Child) {
    process.kill().unwrap();
    process.wait().unwrap();
}

#[test]
fn the_process_that_its_pid_file_names_tells() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let deployment = Deployment { pid_file: Some(file.path().to_owned()), ..Deployment::default() };
    let subjects = |number: &str| {
        std::fs::write(file.path(), number).unwrap();
        subjects(&deployment, None)
    };
    let synapse = named("synapse.app.homeserver");
    let number = format!("{}\n", synapse.id());
    // The process's name is another one for a moment.
    let command = format!("/proc/{}/cmdline", synapse.id());
    while !std::fs::read(&command).unwrap().starts_with(b"synapse") {}
    assert_eq!(subjects(&number), [file.path().display().to_string()]);
    end(synapse);
    assert_eq!(subjects(&number), [""; 0]);
    // The number has become another process's; the file is damaged; there is none.
    let other = named("another");
    assert_eq!(subjects(&other.id().to_string()), [""; 0]);
    end(other);
    assert_eq!(subjects("../1"), [""; 0]);
    let nowhere = Deployment { pid_file: Some("/nowhere".into()), ..Deployment::default() };
    assert_eq!(running(&nowhere, None, 0), []);
}

fn config(database: &Path) -> SynapseConfig {
    let file = tempfile::NamedTempFile::new().unwrap();
    let text = format!(
        "server_name: own.test\nsigning_key: ed25519 a AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\n\
         database: {{args: {{database: {}}}}}\n",
        database.display()
    );
    std::fs::write(file.path(), text).unwrap();
    SynapseConfig::read(&[file.path().to_owned()]).unwrap()
}

#[test]
fn whoever_has_its_sqlite_database_open_tells() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let (deployment, config) = (Deployment::default(), config(file.path()));
    let synapse = Other::reading(file.path());
    assert_eq!(subjects(&deployment, Some(&config)), [file.path().display().to_string()]);
    drop(synapse);
    assert_eq!(subjects(&deployment, Some(&config)), [""; 0]);
}

#[test]
fn other_sessions_on_its_postgresql_database_tell() {
    let found = |other_sessions| {
        let database = DatabaseFacts {
            bytes: 0,
            pending_updates: Vec::new(),
            locale: None,
            other_sessions,
            state_entries: 0,
        };
        let mut checks = Checks::default();
        checks.survey(&Survey { database: Some(database), ..Survey::default() }, None);
        checks.stopped(&Deployment::default(), None);
        let running = checks.finish().into_iter().find(|finding| finding.code == "C113");
        running.map(|finding| finding.text)
    };
    assert_eq!(found(0), None);
    assert_eq!(found(1).as_deref(), Some("1 other session is connected"));
    assert_eq!(found(2).as_deref(), Some("2 other sessions are connected"));
}
