//! History that is fetched after the move, from the Synapse that is still there: is it what a full import would have had?

use std::{
    collections::BTreeSet,
    fs,
    net::TcpListener,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use importer::{
    conduit::{
        schema::trees,
        store::{self, Backend},
    },
    fs::files_below,
};
use migration_tests::{
    command::{self, Run},
    lab::Lab,
    skip,
};
use serde_json::{Value, json};

use crate::{
    helpers::room_contents::{Content, content, same},
    with_synapse::after::patched_conduit::patched,
};

/// Who Conduit runs as: nobody.
const CONDUITS_USER: u32 = 65534;

/// A stopped Synapse, dumped whole, with its newest events, and with these and what some of them relate to.
pub(crate) struct Story {
    lab: Lab,
    full: PathBuf,
    pub(crate) recent: PathBuf,
    reaching: PathBuf,
}

/// Enough for some rooms' newest events to have what they relate to, and not for others.
const REACH: u32 = 80;

impl Story {
    fn tell() -> Self {
        Self::of(Lab::long_ago().unwrap())
    }

    pub(crate) fn of(lab: Lab) -> Self {
        let [full, recent, reaching] = ["full", "recent", "reaching"].map(|name| lab.path(name));
        command::dump(&lab.by_database(), &full).unwrap();
        command::dump_recent(&lab.by_database(), &recent, 0).unwrap();
        command::dump_recent(&lab.by_database(), &reaching, REACH).unwrap();
        Self { lab, full, recent, reaching }
    }

    /// A database with the newest events.
    pub(crate) fn database(&self, name: &str, backend: &str) -> PathBuf {
        self.database_of(&self.recent, name, backend)
    }

    fn database_of(&self, dump: &Path, name: &str, backend: &str) -> PathBuf {
        let database = self.lab.path(name);
        command::import(dump, &database, backend).unwrap();
        database
    }

    /// Starts Synapse so that it does nothing but answer; Conduit's side can't be the one that makes it behave.
    pub(crate) fn start_quietly(&mut self) {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let config = self.lab.note("config").to_owned();
        let printed = command::new()
            .unwrap()
            .args(["quiet-config", "--synapse-config", &config, "--listen", &free.to_string()])
            .output()
            .unwrap();
        assert!(printed.status.success(), "{printed:?}");
        let quiet = self.lab.path("quiet.yaml");
        fs::write(&quiet, printed.stdout).unwrap();
        self.lab.resume_with(&["--quiet", &quiet.to_string_lossy()]).unwrap();
    }

    fn arguments(&self, database: &Path) -> Vec<String> {
        let database = database.to_string_lossy();
        let [url, key] = ["base_url", "signing_key"].map(|name| self.lab.note(name));
        ["backfill", "--database", &database, "--homeserver", url, "--signing-key", key]
            .map(ToOwned::to_owned)
            .to_vec()
    }

    pub(crate) fn backfill(&self, database: &Path) -> Run {
        command::run(self.arguments(database)).unwrap()
    }

    /// That the database has all that a full import of the same Synapse has, and is in order.
    fn is_whole(&self, database: &Path, backend: Backend, dump: &Path) {
        let [expected, found] = self.contents(database, backend);
        assert!(expected["timeline"].len() > 1000, "only {} events", expected["timeline"].len());
        same(&expected, &found);
        is_of_dump(dump, database);
    }

    /// What a full import of the same Synapse has, and what the database has.
    pub(crate) fn contents(&self, database: &Path, backend: Backend) -> [Content; 2] {
        let expected = self.lab.path("expected");
        if !expected.exists() {
            command::import(&self.full, &expected, "rocksdb").unwrap();
        }
        [(Backend::Rocksdb, &*expected), (backend, database)]
            .map(|(backend, path)| content(store::read(backend, path).unwrap().as_ref()))
    }
}

/// That `verify` accepts a database. Receipts for what came later are left out by the import, so it is its own dump that
/// must be satisfied.
pub(crate) fn is_of_dump(dump: &Path, database: &Path) {
    let arguments = ["verify".as_ref(), "--dump".as_ref(), dump, "--database".as_ref(), database];
    let verified = command::run(arguments).unwrap().json().unwrap();
    assert_eq!(verified["findings"], serde_json::json!([]));
}

/// Only rooms of the other server have a past that this Synapse never had, or gives to nobody as nobody is in it any more.
fn nothing_is_missing(outcome: &Value) {
    assert_eq!(outcome["not_reached"], 0, "{outcome:#}");
    for room in outcome["rooms"].as_array().unwrap() {
        let is_whole = room["missing"] == json!([]) && room["given_up"] == json!({});
        let is_elsewhere = room["room_id"].as_str().unwrap().ends_with(":elsewhere.test");
        assert!(is_whole || is_elsewhere, "{room:#}");
    }
}

/// Nothing half, nothing twice, whichever engine; and a Synapse that keeps quiet gives all of it. Told once for all that a quiet
/// Synapse can be asked for: to tell it takes longer than to ask.
#[test]
fn what_is_fetched_later_is_what_a_full_import_has() {
    let mut story = Story::tell();
    story.start_quietly();
    let dumps = [&story.recent, &story.reaching].map(Clone::clone);
    let backends = [(Backend::Rocksdb, "rocksdb"), (Backend::Sqlite, "sqlite")];
    for ((backend, name), dump) in backends.into_iter().zip(&dumps) {
        let database = story.database_of(dump, name, name);
        if backend == Backend::Rocksdb {
            refused_if_in_use(&story, &database);
        }
        let is_given = give(&database);
        let outcome = story.backfill(&database).backfilled().unwrap();
        nothing_is_missing(&outcome);
        if is_given {
            let others = files_below(&database).map(Result::unwrap);
            let others = others.filter(|file| file.metadata().unwrap().uid() != CONDUITS_USER);
            assert_eq!(others.collect::<Vec<_>>(), Vec::<PathBuf>::new());
        }
        story.is_whole(&database, backend, dump);
        // Once more: there is nothing left.
        let again = story.backfill(&database).backfilled().unwrap();
        let rooms = again["rooms"].as_array().unwrap();
        assert!(rooms.iter().all(|room| room["fetched"] == 0), "{again:#}");
    }
    let database = story.lab.path("continuwuity");
    command::import_for_continuwuity(&story.recent, &database).unwrap();
    nothing_is_missing(&story.backfill(&database).backfilled().unwrap());
    story.is_whole(&database, Backend::Rocksdb, &story.recent);
    refused_if_unfinished_or_of_another_server(&story);
}

/// Gives a database to the user that Conduit runs as, as operators do. `false`, which is said: only root can.
fn give(database: &Path) -> bool {
    let owner = format!("{CONDUITS_USER}:{CONDUITS_USER}");
    let given = Command::new("chown").arg("-R").arg(owner).arg(database).output().unwrap();
    if !given.status.success() {
        skip::skipped("this user can't give a database to another one");
    }
    given.status.success()
}

fn refused_if_in_use(story: &Story, database: &Path) {
    let held = store::change(Backend::Rocksdb, database).unwrap();
    story.backfill(database).failed(5, &["in use", "stop the server first"]).unwrap();
    drop(held);
}

fn refused_if_unfinished_or_of_another_server(story: &Story) {
    let partial = story.lab.path("unfinished");
    store::create(&store::NewStore::of_conduit(Backend::Rocksdb, &partial))
        .unwrap()
        .finish()
        .unwrap();
    story.backfill(&partial).failed(5, &["is incomplete", "import again"]).unwrap();
    story.backfill(&story.lab.path("nothing")).failed(5, &["no database of Conduit"]).unwrap();

    let key = story.lab.path("other.key");
    fs::write(&key, "ed25519 other YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1\n").unwrap();
    let database = story.lab.path("rocksdb");
    let mut arguments = story.arguments(&database);
    *arguments.last_mut().unwrap() = key.to_string_lossy().into_owned();
    command::fails(&arguments, 3, &["does not sign", "ed25519:other"]).unwrap();

    story.lab.stop().unwrap();
    story.backfill(&database).failed(3, &["does not answer"]).unwrap();
}

/// Whatever ends in the middle, and whoever ends it. The Synapse is as slow as it is by itself, so that there is a middle.
#[test]
fn what_was_ended_in_the_middle_goes_on_later() {
    let mut story = Story::tell();
    let [killed, stopped] = [("killed", "rocksdb"), ("stopped", "sqlite")]
        .map(|(name, backend)| story.database(name, backend));
    story.lab.resume_with_default_limits().unwrap();
    killed_again_and_again(&story, &killed);
    a_synapse_that_stops_is_named(&story, &stopped);
    story.start_quietly();
    nothing_is_missing(&story.backfill(&stopped).backfilled().unwrap());
    story.is_whole(&stopped, Backend::Sqlite, &story.recent);
}

fn killed_again_and_again(story: &Story, database: &Path) {
    let mut sizes = vec![events(Backend::Rocksdb, database)];
    for _ in 0..4 {
        let before = logs(database);
        let mut run = command::new()
            .unwrap()
            .args(story.arguments(database))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // In the middle: a page was written into a new log.
        while logs(database).is_subset(&before) && run.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(10));
        }
        run.kill().unwrap();
        run.wait().unwrap();
        sizes.push(events(Backend::Rocksdb, database));
        let server = ["verify", "--server-name", "family.test", "--database"].map(AsRef::as_ref);
        let verified = command::run(server.into_iter().chain([database.as_os_str()])).unwrap();
        assert_eq!(verified.json().unwrap()["findings"], serde_json::json!([]));
    }
    nothing_is_missing(&story.backfill(database).backfilled().unwrap());
    let whole = events(Backend::Rocksdb, database);
    assert!(sizes.is_sorted(), "{sizes:?}");
    let is_middle = |size: &usize| sizes.first() < Some(size) && *size < whole;
    assert!(sizes.iter().any(is_middle), "it was never in the middle: {sizes:?}, {whole}");
    story.is_whole(database, Backend::Rocksdb, &story.recent);
}

/// Stops Synapse.
fn a_synapse_that_stops_is_named(story: &Story, database: &Path) {
    let mut run = command::new()
        .unwrap()
        .args(story.arguments(database))
        .args(["--format", "json", "--no-progress"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // In the middle: something was written.
    let log = database.join("conduit.db-wal");
    while fs::metadata(&log).map_or(0, |log| log.len()) == 0 && run.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(10));
    }
    story.lab.stop().unwrap();
    let output = run.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("run the command again") && !said.contains("panicked"), "{said}");
    let outcome: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_ne!(outcome["not_reached"], 0, "{outcome:#}");
}

/// RocksDB's write-ahead logs that hold anything.
fn logs(database: &Path) -> BTreeSet<PathBuf> {
    let files = fs::read_dir(database).unwrap().map(|file| file.unwrap().path());
    files
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .filter(|path| fs::metadata(path).is_ok_and(|log| log.len() > 0))
        .collect()
}

fn events(backend: Backend, database: &Path) -> usize {
    let store = store::read(backend, database).unwrap();
    store.scan(&trees::PDUID_PDU, &[]).unwrap().count()
}

/// The same through a patched Conduit: people who scroll back, all at once. `CONDUIT_BIN` names it.
#[test]
fn a_patched_conduit_is_drained_of_all_that_is_missing() {
    let Some(binary) = patched() else { return };
    let mut story = Story::tell();
    let database = story.database("conduit", "rocksdb");
    story.start_quietly();
    let path = |path: &Path| path.to_string_lossy().into_owned();
    let importer = path(&command::path().unwrap());
    let (directory, dump) = (path(&database), path(&story.recent));
    let arguments =
        ["--bin", &binary, "--database", &directory, "--importer", &importer, "--dump", &dump];
    let outcome = story.lab.run("drain", &arguments).unwrap();
    let outcome: Value = serde_json::from_str(&outcome).unwrap();
    assert_eq!(outcome["not_reached"], 0, "{outcome:#}");
    story.lab.stop().unwrap();
    let expected = story.lab.path("expected");
    command::import(&story.full, &expected, "rocksdb").unwrap();
    let [expected, found] = [&expected, &database].map(|path| {
        content(store::read(Backend::Rocksdb, path).unwrap().as_ref())["timeline"].clone()
    });
    let missing: Vec<_> = expected.iter().filter(|line| !found.contains(line)).collect();
    assert!(missing.is_empty(), "{} events differ, {:?} first", missing.len(), missing.first());
}
