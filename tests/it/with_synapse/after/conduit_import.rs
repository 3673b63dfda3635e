//! The importer in a patched Conduit, which `CONDUIT_IMPORT_BIN` names, against the one of this repository; and the trees and
//! dependencies that the patch has to name. Without a program the tests that run it are skipped, and say so.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use importer::conduit::{
    schema::trees::{self, PATCHED, TREES, Tree},
    store::{self, Backend},
};
use migration_tests::{command, lab::Lab, skip};
use serde_json::Value;

/// Whether a comparison row by row finds nothing.
fn are_equal(first: &Path, second: &Path) -> bool {
    let compared = command::run(["inspect".as_ref(), "--diff".as_ref(), first, second]).unwrap();
    assert!([0, 1].contains(&compared.code), "{}", compared.err);
    assert_eq!(compared.code == 0, compared.out.is_empty(), "{}", compared.out);
    compared.code == 0
}

/// Gives the first row of a tree another value.
fn change_one_row(directory: &Path, backend: Backend, tree: &'static Tree) {
    let mut store = store::change(backend, directory).unwrap();
    let (key, mut value) = store.scan(tree, &[]).unwrap().next().unwrap().unwrap();
    value.last_mut().map(|byte| *byte ^= 1).unwrap();
    store.commit([((tree, key.into()), Some(value.into()))].into()).unwrap();
}

/// What was printed about a database, without its name and that of its report; and without what is left to do, whose
/// commands name the program.
fn without_places(printed: &Value, database: &Path) -> Value {
    let text = printed.to_string();
    let place = database.to_str().unwrap();
    assert!(text.matches(place).count() > 2, "{text}");
    let mut printed: Value = serde_json::from_str(&text.replace(place, "DATABASE")).unwrap();
    printed.as_object_mut().unwrap().remove("todo").unwrap();
    printed
}

#[test]
fn conduits_own_services_write_the_same_rows() {
    let Some(program) = skip::conduit_import() else { return };
    let lab = Lab::stopped().unwrap();
    let path = |name: &str| lab.directory().join(name);
    let dump = path("dump");
    command::dump(&lab.by_database(), &dump).unwrap();
    for backend in [Backend::Rocksdb, Backend::Sqlite] {
        let name = backend.to_string();
        let [own, conduits] = ["own", "conduits"].map(|whose| path(&format!("{whose}-{name}")));
        let printed = command::import(&dump, &own, &name).unwrap();
        let arguments = command::import_arguments(&dump, &conduits, &name);
        let by_conduit = command::run_other(&program, arguments).unwrap().json().unwrap();
        assert_eq!(without_places(&by_conduit, &conduits), without_places(&printed, &own));
        assert!(are_equal(&own, &conduits), "{name}");

        let again = command::run_other(&program, arguments).unwrap();
        again.failed(5, &["conduits", "is not empty"]).unwrap();
        assert!(are_equal(&own, &conduits), "{name}");

        // Trees of both kinds: written by a service, and directly.
        for tree in [trees::USERID_DISPLAYNAME.tree(), trees::PDUID_PDU.tree()] {
            change_one_row(&conduits, backend, tree);
            assert!(!are_equal(&own, &conduits), "{} of {name}", tree.name);
            change_one_row(&conduits, backend, tree);
        }
        assert!(are_equal(&own, &conduits), "{name}");
    }
}

#[test]
fn a_damaged_dump_is_refused_by_conduits_importer_as_well() {
    let Some(program) = skip::conduit_import() else { return };
    let lab = Lab::stopped().unwrap();
    let [dump, database] = ["dump", "conduit"].map(|name| lab.directory().join(name));
    command::dump(&lab.by_database(), &dump).unwrap();
    fs::write(dump.join("server.json"), "{}").unwrap();
    let refused =
        command::run_other(&program, command::import_arguments(&dump, &database, "rocksdb"));
    refused.unwrap().failed(4, &["server.json"]).unwrap();
    assert!(!database.exists());
}

/// Lines that the patch adds, by the file that they are in.
fn added() -> BTreeMap<String, Vec<String>> {
    let patches = Path::new(env!("CARGO_MANIFEST_DIR")).join("../patches");
    let patch = fs::read_dir(patches).unwrap().map(|entry| entry.unwrap().path());
    let patch =
        patch.into_iter().find(|path| path.to_string_lossy().contains("/0007-")).expect("a patch");
    let mut files = BTreeMap::<String, Vec<String>>::new();
    let mut file = String::new();
    for line in fs::read_to_string(patch).unwrap().lines() {
        if let Some(name) = line.strip_prefix("+++ b/") {
            name.clone_into(&mut file);
        } else if let Some(line) = line.strip_prefix('+') {
            files.entry(file.clone()).or_default().push(line.to_owned());
        }
    }
    files
}

#[test]
fn the_patch_names_all_trees() {
    let added = added();
    let lines = added["src/database/import.rs"].iter().map(|line| line.trim());
    let named: BTreeSet<_> = lines
        .skip_while(|line| *line != "trees! {")
        .skip(1)
        .take_while(|line| *line != "}")
        .collect();
    let known = TREES.iter().map(|tree| tree.name);
    assert_eq!(named, known.chain(PATCHED).collect());
}

#[test]
fn the_patch_has_all_that_the_importer_takes_from_its_workspace() {
    let added = added();
    let workspace: toml::Table = added["conduit-import/Cargo.toml"].join("\n").parse().unwrap();
    let given = workspace["workspace"]["dependencies"].as_table().unwrap();
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../importer/Cargo.toml");
    let manifest: toml::Table = fs::read_to_string(manifest).unwrap().parse().unwrap();
    let needed = manifest["dependencies"].as_table().unwrap().keys();
    let missing: Vec<_> = needed.filter(|name| !given.contains_key(*name)).collect();
    assert_eq!(missing, Vec::<&String>::new());
    let given = workspace["workspace"]["package"].as_table().unwrap();
    let needed = manifest["package"].as_table().unwrap().iter();
    let taken = needed.filter(|(_, value)| value.get("workspace").is_some());
    let missing: Vec<_> = taken.filter(|(name, _)| !given.contains_key(*name)).collect();
    assert_eq!(missing, []);
}
