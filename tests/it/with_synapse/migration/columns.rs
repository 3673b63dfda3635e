//! What a dump says that it holds is what the import reads from it, kind by kind: the columns of the report add up.

use std::{collections::BTreeMap, path::Path};

use importer::{
    conduit::store::memory::MemoryStore,
    dump::DumpReader,
    import,
    progress::Progress,
    tally::{Kind, Skip},
};
use migration_tests::{
    command,
    lab::{Engine, Lab},
};

/// Reasons that name a part of an item: the item itself moves, and its part is counted once more.
const PARTS: [&str; 2] = ["account-data-entry-unreadable", "push-rule-refused"];

/// Kinds of which the dump holds another number than the import reads, with both.
fn unequal(dump: &Path) -> BTreeMap<Kind, (u64, u64)> {
    let dump = DumpReader::open(dump, |_| {}).unwrap();
    let dumped = &dump.manifest().tally.written;
    let mut store = MemoryStore::default();
    let imported = import::import(&dump, &mut store, None, &Progress::Hidden).unwrap().tally;
    assert!(imported.unbalanced().is_empty());
    let parts = |kind: Kind| -> u64 {
        let is_part = |skip: &&Skip| skip.kind == kind && PARTS.contains(&&*skip.reason);
        imported.skipped.iter().filter(is_part).map(|skip| skip.number).sum()
    };
    let number = |counts: &BTreeMap<Kind, u64>, kind| counts.get(&kind).copied().unwrap_or(0);
    let kinds = dumped.keys().chain(imported.read.keys()).copied();
    kinds
        .map(|kind| {
            (kind, (number(dumped, kind), number(&imported.read, kind).saturating_sub(parts(kind))))
        })
        .filter(|(_, (written, read))| written != read)
        .collect()
}

#[test]
fn the_import_reads_what_the_dump_holds() {
    let lab = Lab::stopped().unwrap();
    let dump = lab.path("dump");
    command::dump(&lab.by_database(), &dump).unwrap();
    assert_eq!(unequal(&dump), BTreeMap::new());

    let lab = Lab::start(Engine::Postgres).unwrap();
    for (name, source) in [("database", lab.by_database()), ("api", lab.by_api())] {
        let dump = lab.path(name);
        command::dump(&source, &dump).unwrap();
        assert_eq!(unequal(&dump), BTreeMap::new(), "{name}");
    }
}
