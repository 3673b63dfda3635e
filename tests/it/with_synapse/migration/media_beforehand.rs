//! `importer media`, and migrations that take what it has copied: they end as others do.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread::sleep,
    time::Duration,
};

use importer::{
    conduit::{
        schema::trees::TREES,
        store::{self, Backend},
    },
    fs::files_below,
};
use migration_tests::{
    command::{self, Run},
    lab::Lab,
    skip, tree,
};
use serde_json::Value;

/// Runs a command on the laboratory's database, for this database of Conduit's.
fn run(lab: &Lab, name: &str, database: &Path, more: &[&str]) -> Run {
    command::run(arguments(lab, name, database, more)).unwrap()
}

fn arguments(lab: &Lab, name: &str, database: &Path, more: &[&str]) -> Vec<String> {
    let mut arguments = vec![name.to_owned()];
    arguments.extend(lab.by_database());
    arguments.extend(["--database".to_owned(), database.to_string_lossy().into_owned()]);
    arguments.extend(more.iter().map(|&argument| argument.to_owned()));
    arguments
}

fn migrate(lab: &Lab, database: &Path, more: &[&str]) -> Run {
    run(lab, "migrate", database, &[&["--accept", "C301"], more].concat())
}

fn prepared(database: &Path) -> PathBuf {
    database.with_extension("prepared-media")
}

/// The rows of a database.
fn rows(database: &Path) -> Vec<(&'static str, Vec<u8>, Vec<u8>)> {
    let store = store::read(Backend::Rocksdb, database).unwrap();
    let mut rows = Vec::new();
    for tree in TREES {
        for row in store.scan(tree, &[]).unwrap() {
            let (key, value) = row.unwrap();
            rows.push((tree.name, key.to_vec(), value.to_vec()));
        }
    }
    rows
}

/// Files that have no name yet.
fn unfinished(files: &Path) -> BTreeSet<String> {
    let names = files_below(files).filter_map(Result::ok);
    let names = names.map(|file| file.file_name().unwrap().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with(".tmp")).collect()
}

fn has(findings: &Value, code: &str) -> bool {
    findings.as_array().unwrap().iter().any(|finding| finding["code"] == code)
}

#[test]
fn files_that_were_copied_beforehand_make_the_same_media_and_rows() {
    let lab = Lab::stopped().unwrap();
    let [first, second] = ["first", "second"].map(|name| lab.path(name));
    let before = tree::read(&lab.path("media")).unwrap();
    let once = run(&lab, "media", &first, &["--remote-media"]).json().unwrap();
    let number = once["files"].as_u64().unwrap();
    // A file of the laboratory's is missing from its store.
    assert!(number > 10 && once["copied"] == number && once["left"] == 1, "{once}");
    let twice = run(&lab, "media", &first, &["--remote-media"]).json().unwrap();
    assert!(twice["files"] == number && twice["copied"] == 0, "{twice}");
    assert_eq!(twice["directory"], prepared(&first).to_str().unwrap());
    assert!(tree::read(&lab.path("media")).unwrap() == before, "Synapse's media store changed");

    let check = run(&lab, "check", &first, &["--accept", "C301", "--remote-media"]);
    let plan = &check.json().unwrap()["plan"];
    assert!(plan["prepared_bytes"].as_u64().unwrap() > 0, "{plan}");

    let moved = migrate(&lab, &first, &["--remote-media"]).json().unwrap();
    assert_eq!(moved["prepared_media"], number, "{moved}");
    assert!(!prepared(&first).exists());
    let report = fs::read(lab.path("first.report/report.json")).unwrap();
    let report: Value = serde_json::from_slice(&report).unwrap();
    assert_eq!(report["media"]["prepared"], number);

    let other = command::import(&lab.path("first.dump"), &second, "rocksdb").unwrap();
    assert_eq!(other["prepared_media"], 0);
    assert_eq!(moved["tally"], other["tally"]);
    let media = |database: &Path| tree::read(&database.join("media")).unwrap();
    assert!(media(&first) == media(&second), "the media directories differ");
    assert!(rows(&first) == rows(&second), "the rows differ");
    let mut linked =
        files_below(&first.join("media")).map(|file| file.unwrap().metadata().unwrap());
    assert!(linked.all(|file| file.nlink() == 1 && file.mode() & 0o777 == 0o600));
}

#[test]
fn files_for_a_media_directory_elsewhere_are_copied_beside_it() {
    let lab = Lab::stopped().unwrap();
    let [database, media] = ["conduit", "files"].map(|name| lab.path(name));
    let elsewhere = ["--media-directory", media.to_str().unwrap()];
    let once = run(&lab, "media", &database, &elsewhere).json().unwrap();
    assert_eq!(once["directory"], prepared(&media).to_str().unwrap());
    let moved = migrate(&lab, &database, &elsewhere).json().unwrap();
    assert_eq!(moved["prepared_media"], once["files"]);
    assert!(media.is_dir() && !prepared(&media).exists() && !prepared(&database).exists());
}

#[test]
fn a_file_that_was_damaged_since_it_was_copied_is_found_and_nothing_is_lost() {
    let lab = Lab::stopped().unwrap();
    let database = lab.path("conduit");
    run(&lab, "media", &database, &[]).json().unwrap();
    let files = prepared(&database).join("files");
    let file =
        files_below(&files).map(Result::unwrap).find(|file| file.metadata().unwrap().len() > 0);
    let file = file.unwrap();
    let mut content = fs::read(&file).unwrap();
    content[0] ^= 1;
    fs::write(&file, content).unwrap();

    let failed = migrate(&lab, &database, &["--verify-all-media"]);
    assert_eq!(failed.code, 10, "{}", failed.err);
    let blocking = failed.blocking().unwrap();
    assert!(!blocking.is_empty() && blocking.iter().all(|code| code == "V143"), "{blocking:?}");
    assert!(!database.exists() && prepared(&database).exists());

    // What the finding says to do.
    fs::remove_dir_all(prepared(&database)).unwrap();
    let moved = migrate(&lab, &database, &["--reuse-dump"]).json().unwrap();
    assert_eq!(moved["prepared_media"], 0);
    assert!(database.exists());
}

#[test]
fn a_run_that_was_killed_goes_on() {
    let lab = Lab::stopped().unwrap();
    let database = lab.path("conduit");
    let whole = run(&lab, "media", &database, &[]).json().unwrap();
    fs::remove_dir_all(prepared(&database)).unwrap();
    let large = files_below(&lab.path("media/local_content")).next().unwrap().unwrap();
    fs::File::options().write(true).open(&large).unwrap().set_len(300 << 20).unwrap();

    let files = prepared(&database).join("files");
    for signal in ["-KILL", "-INT"] {
        let earlier = unfinished(&files);
        let mut child = command::new()
            .unwrap()
            .args(arguments(&lab, "media", &database, &[]))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        while unfinished(&files).is_subset(&earlier) {
            assert!(child.try_wait().unwrap().is_none(), "the run was over too soon");
            sleep(Duration::from_millis(2));
        }
        let killed = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
        assert!(killed.success());
        assert!(!child.wait().unwrap().success(), "the run was over too soon");
        // A migration does not mind what is half done.
        let check = run(&lab, "check", &database, &["--accept", "C301"]).json().unwrap();
        assert!(!has(&check["findings"], "C534"), "{check}");
    }
    let end = run(&lab, "media", &database, &[]).json().unwrap();
    assert_eq!(end["files"], whole["files"]);
    assert_eq!(unfinished(&files), BTreeSet::new());
    let mut contents = files_below(&files).map(|file| file.unwrap().metadata().unwrap());
    assert!(contents.any(|file| file.len() == 300 << 20));
}

#[test]
fn a_directory_that_can_not_be_relied_upon_is_refused_before_anything_is_written() {
    let lab = Lab::stopped().unwrap();
    let database = lab.path("conduit");
    run(&lab, "media", &database, &[]).json().unwrap();
    let directory = prepared(&database);
    let refused = |text: &str| {
        for name in ["check", "migrate"] {
            let run = run(&lab, name, &database, &["--accept", "C301"]);
            assert_eq!(run.code, 10, "{}", run.err);
            let out: Value = serde_json::from_str(&run.out).unwrap();
            assert!(has(&out["findings"], "C534"), "{out}");
            assert!(run.out.contains(text), "{text:?} not in {out}");
        }
        run(&lab, "media", &database, &[]).failed(5, &[text]).unwrap();
        assert!(!database.exists() && directory.exists());
    };
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o770)).unwrap();
    refused("others have rights to it");
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).unwrap();

    // Another importer: `check` may look meanwhile.
    let used = fs::File::open(&directory).unwrap();
    used.lock().unwrap();
    let busy = migrate(&lab, &database, &[]);
    assert!(busy.code == 10 && busy.out.contains("another importer uses"), "{}", busy.out);
    run(&lab, "media", &database, &[]).failed(5, &["another importer uses"]).unwrap();
    assert_eq!(run(&lab, "check", &database, &["--accept", "C301"]).code, 11);
    drop(used);

    let index = directory.join("index.jsonl");
    let text = fs::read_to_string(&index).unwrap();
    fs::write(&index, text.replacen(lab.note("server_name"), "other.test", 1)).unwrap();
    refused("holds files of `other.test`");
    fs::write(&index, text.replacen("/media\"", "/elsewhere\"", 1)).unwrap();
    refused("holds files of the media store");
    fs::write(&index, text).unwrap();

    if chown(&directory, Some(65534), None).is_ok() {
        refused("belongs to another user");
        chown(&directory, Some(0), None).unwrap();
    } else {
        skip::skipped("this user can't give a directory away");
    }
    assert_eq!(run(&lab, "check", &database, &["--accept", "C301"]).code, 11);
}

#[test]
fn what_can_not_be_copied_beforehand_is_said() {
    let lab = Lab::stopped().unwrap();
    let database = lab.path("conduit");
    let words = ["only a migration that reads Synapse's database", "`--media refer`"];
    run(&lab, "media", &database, &["--media", "copy"]).failed(1, &words).unwrap();
    run(&lab, "media", &database, &["--media-store", "/nowhere"])
        .failed(5, &["(/nowhere) is not on this machine", "`--media-store`"])
        .unwrap();
    fs::create_dir(&database).unwrap();
    fs::write(database.join("CURRENT"), "").unwrap();
    run(&lab, "media", &database, &[]).failed(5, &["conduit` is not empty"]).unwrap();
    assert!(!prepared(&database).exists());
}
