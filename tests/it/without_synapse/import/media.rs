//! Media from a dump into Conduit's directory and rows: what moves, what is left out and why, and that `verify` sees each
//! difference.

mod beforehand;
mod continuwuity;

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, symlink},
    path::{Path, PathBuf},
};

use importer::{
    conduit::{
        schema::trees::{self, TREES, Tree},
        store::{KvLoad as _, KvRead, Row, memory::MemoryStore},
    },
    dump::{
        DumpReader, DumpWriter, MediaStore, PreparedMedia, PreparedOrigin,
        format::{DumpMediaHead, Manifest},
    },
    fs::{ContentDirectory, Layout},
    import::{self, ImportError, Imported, MediaTarget},
    progress::Progress,
    tally::Skip,
    verify::{self, Files, Linked, MediaComparison},
};
use serde_json::{Value, json};
use tempfile::TempDir;

const OWN: &str = "dump.test";
/// The time of the dump, in seconds.
const NOW: u64 = 1_700_000_000;

fn from<T: ruma::exports::serde::de::DeserializeOwned>(json: Value) -> T {
    serde_json::from_value(json).unwrap()
}

/// A media store, a dump that refers to it, and a place for Conduit's files.
struct Move {
    scratch: TempDir,
    dump: DumpReader,
    target: MediaTarget,
}

impl Move {
    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn import(&self, store: &mut MemoryStore) -> Result<Imported, ImportError> {
        import::import(&self.dump, store, Some(&self.target), &Progress::Hidden)
    }

    fn imported(&self) -> (MemoryStore, Imported) {
        let mut store = MemoryStore::default();
        let imported = self.import(&mut store).unwrap();
        assert_eq!(imported.tally.unbalanced(), [], "{:?}", imported.tally);
        (store, imported)
    }

    /// Copies all files of the store beforehand, for the next import.
    fn prepare(&mut self) {
        let store = MediaStore::of_synapse(vec![self.path("store")]);
        let origin = PreparedOrigin::of(OWN, &store).unwrap();
        let paths = importer::fs::files_below(&self.path("store"));
        let below =
            |path: PathBuf| path.strip_prefix(self.path("store")).unwrap().display().to_string();
        let wanted = paths.map(|path| below(path.unwrap())).collect();
        let path = self.path("prepared");
        PreparedMedia::update(&path, &origin, &store, wanted, Progress::Hidden).unwrap();
        self.target.prepared = PreparedMedia::open(&path, &origin).unwrap();
    }

    fn findings(&self, store: &MemoryStore, skipped: &[Skip]) -> Vec<String> {
        let files = Files { directory: &self.target.directory, store: None, linked: None };
        self.findings_of(store, files, skipped)
    }

    /// The same right after an import that linked files.
    fn findings_after(
        &self,
        store: &MemoryStore,
        imported: &Imported,
        how: MediaComparison,
    ) -> Vec<String> {
        let prepared = self.target.prepared.as_ref().unwrap();
        let linked = Linked { prepared, contents: &imported.linked.contents, how };
        let files = Files { directory: &self.target.directory, store: None, linked: Some(linked) };
        self.findings_of(store, files, &imported.tally.skipped)
    }

    fn findings_of(&self, store: &dyn KvRead, files: Files<'_>, skipped: &[Skip]) -> Vec<String> {
        let media =
            verify::media(store, Some(&self.dump), files, skipped, &Progress::Hidden).unwrap();
        let structure = verify::structure(store, OWN, &Progress::Hidden).unwrap();
        let found = media.findings.into_iter().chain(structure.findings);
        found.map(|f| format!("{} {}: {}", f.code, f.subject, f.text)).collect()
    }

    /// The file of a content in Conduit's directory.
    fn file(&self, content: &str) -> PathBuf {
        self.target.directory.file(&hash(content))
    }
}

fn hash(content: &str) -> importer::fs::ContentHash {
    importer::fs::hash(&mut content.as_bytes()).unwrap().0
}

/// Writes files into a store, and records into a dump.
fn prepare(files: &[(&str, &str)], records: &[Value]) -> Move {
    let scratch = tempfile::tempdir().unwrap();
    let store = scratch.path().join("store");
    for (path, content) in files {
        let path = store.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    let path = scratch.path().join("dump");
    let writer = DumpWriter::create(&path).unwrap();
    let seed = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
    let server = json!({"server_name": OWN, "signing_key": {"version": "a", "seed": seed}});
    writer.server(&from(server)).unwrap();
    let head = DumpMediaHead { stores: vec![store.display().to_string()] };
    let mut media = writer.media(&head).unwrap();
    for record in records {
        media.record(&from(record.clone())).unwrap();
    }
    writer.finish_media(media).unwrap();
    let manifest: Manifest = from(json!({
        "version": importer::dump::format::VERSION, "server_name": OWN, "created_ts": NOW * 1000, "source": {"kind": "sqlite"},
        "tally": {"read": {}, "written": {}, "skipped": []}, "files": [],
    }));
    writer.finish(manifest).unwrap();
    let dump = DumpReader::open(&path, |_| {}).unwrap();
    let directory = ContentDirectory::new(scratch.path().join("media"), Layout::default());
    Move {
        scratch,
        dump,
        target: MediaTarget { directory, store: None, link: false, prepared: None },
    }
}

/// A record of an upload with the id `AAbb` and a letter.
#[expect(clippy::needless_pass_by_value, reason = "callers make it on the spot")]
fn upload(letter: char, more: Value) -> Value {
    let mut record = json!({
        "server": OWN, "media_id": format!("AAbb{letter}"), "path": format!("local_content/AA/bb/{letter}"),
        "created_ts": 1_600_000_000_500_u64,
    });
    record.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    record
}

/// One of each kind that moves.
fn good() -> Move {
    let files = [
        ("local_content/AA/bb/a", "a picture"),
        ("local_content/AA/bb/b", "a picture"),
        ("local_content/AA/bb/c", "a secret"),
        ("local_content/AA/bb/d", ""),
        ("remote_content/other.test:8448/AA/bb/e", "from elsewhere"),
    ];
    let named = json!({
        "content_type": "image/png; charset=x", "upload_name": "Kuchen 🎂 \u{7}\"'.png", "bytes": 9,
        "sha256": hash("a picture").to_string(), "uploader": "@ada:dump.test", "unauthenticated": true,
        "last_access_ts": 1_650_000_000_000_u64,
    });
    let remote = json!({
        "server": "other.test:8448", "path": "remote_content/other.test:8448/AA/bb/e",
        "created_ts": 1_000, "last_access_ts": 1_000,
    });
    // In the future, and of a length that text must have a place for.
    let long = json!({"created_ts": NOW * 1000 + 5, "upload_name": "n".repeat(255)});
    prepare(
        &files,
        &[
            upload('a', named),
            upload('b', json!({"created_ts": 1_500_000_000_000_u64})),
            upload('c', json!({"quarantined_by": "@root:dump.test"})),
            upload('d', long),
            upload('e', remote),
            json!({"server": "bad.test", "media_id": "x/y", "created_ts": 0, "quarantined_by": "@root:dump.test"}),
        ],
    )
}

/// Keys and values of the media trees: texts, with bytes that are none as `\xNN`.
fn rows(store: &MemoryStore) -> Vec<String> {
    let media = |tree: &&&Tree| ["media", "filehash"].iter().any(|word| tree.name.contains(word));
    let mut rows = Vec::new();
    for tree in TREES.iter().filter(media) {
        for row in store.scan(tree, &[]).unwrap() {
            let (key, value) = row.unwrap();
            rows.push(format!("{}: {} = {}", tree.name, key.escape_ascii(), value.escape_ascii()));
        }
    }
    rows
}

#[test]
fn media_moves_with_all_that_is_known_of_it() {
    let media = good();
    let (store, imported) = media.imported();
    insta::assert_debug_snapshot!(rows(&store));
    assert_eq!(imported.tally.skipped, []);
    assert_eq!(fs::read_to_string(media.file("a picture")).unwrap(), "a picture");
    assert_eq!(fs::read_to_string(media.file("")).unwrap(), "");
    // Two records, one content.
    assert_eq!(importer::fs::files_below(media.target.directory.path()).count(), 4);
    assert_eq!(media.findings(&store, &[]), Vec::<String>::new());
    let (again, _) = media.imported();
    assert_eq!(rows(&again), rows(&store));
}

#[test]
fn another_structure_is_conduits() {
    let mut media = good();
    for (layout, path) in [
        (Layout::Flat, hash("a picture").to_string()),
        (Layout::deep(3.try_into().unwrap(), 1.try_into().unwrap()).unwrap(), {
            let name = hash("a picture").to_string();
            let (folder, rest) = name.split_at(3);
            format!("{folder}/{rest}")
        }),
    ] {
        media.target.directory = ContentDirectory::new(media.path(&format!("{layout:?}")), layout);
        let (store, _) = media.imported();
        let file = media.target.directory.path().join(path);
        assert_eq!(fs::read_to_string(file).unwrap(), "a picture");
        assert_eq!(media.findings(&store, &[]), Vec::<String>::new());
    }
}

#[test]
fn links_share_the_file_and_copies_do_not() {
    let mut media = good();
    let inode = |path: &Path| fs::metadata(path).unwrap().ino();
    let source = media.path("store/local_content/AA/bb/a");
    media.imported();
    assert_ne!(inode(&media.file("a picture")), inode(&source));
    media.target.directory = media.target.directory.at(media.path("linked"));
    media.target.link = true;
    let (store, _) = media.imported();
    assert_eq!(inode(&media.file("a picture")), inode(&source));
    assert_eq!(media.findings(&store, &[]), Vec::<String>::new());
}

#[test]
fn what_can_not_move_is_named_with_a_reason() {
    let record = |letter, path: &str| upload(letter, json!({"path": path}));
    let media = prepare(
        &[("local_content/AA/bb/a", "content"), ("local_content/AA/bb/d/file", "")],
        &[
            upload('a', json!({"sha256": hash("another content").to_string()})),
            record('b', "local_content/AA/bb/b"),
            record('c', "local_content/../../etc/passwd"),
            record('d', "local_content/AA/bb/d"),
            record('e', "etc/passwd"),
            record('f', "/etc/passwd"),
            record('g', "local_content/AA/bb/link"),
            record('h', "local_content/AA/bb/pipe"),
            record('i', "local_content//AA"),
            record('j', "local_content/AA/bb/gone"),
        ],
    );
    let folder = media.path("store/local_content/AA/bb");
    symlink("/etc/passwd", folder.join("link")).unwrap();
    symlink("nowhere", folder.join("gone")).unwrap();
    let made = std::process::Command::new("mkfifo").arg(folder.join("pipe")).status().unwrap();
    assert!(made.success());
    let (store, imported) = media.imported();
    let skipped: Vec<_> = imported
        .tally
        .skipped
        .iter()
        .map(|skip| (skip.item.rsplit('/').next().unwrap(), skip.reason.as_str()))
        .collect();
    assert_eq!(
        skipped,
        [
            ("AAbba", "file-damaged"),
            ("AAbbb", "file-missing"),
            ("AAbbc", "path-outside-store"),
            ("AAbbd", "no-regular-file"),
            ("AAbbe", "path-outside-store"),
            ("AAbbf", "path-outside-store"),
            ("AAbbg", "path-outside-store"),
            ("AAbbh", "no-regular-file"),
            ("AAbbi", "path-outside-store"),
            ("AAbbj", "file-missing"),
        ]
    );
    assert_eq!(rows(&store), Vec::<String>::new());
    assert_eq!(importer::fs::files_below(media.target.directory.path()).count(), 0);
    assert_eq!(media.findings(&store, &imported.tally.skipped), Vec::<String>::new());
    assert_eq!(media.findings(&store, &[]), Vec::<String>::new());
}

#[test]
fn what_moves_with_less_is_told() {
    let media = prepare(
        &[("local_content/AA/bb/a", "content"), ("local_content/AA/bb/b", "content")],
        &[
            upload(
                'a',
                json!({"bytes": 8, "content_type": "text/\nplain", "uploader": "@eve:other.test"}),
            ),
            upload('b', json!({"quarantined_by": "@root:dump.test"})),
        ],
    );
    let (store, imported) = media.imported();
    let told: Vec<_> = imported
        .findings
        .iter()
        .filter(|finding| finding.subject.starts_with("mxc:"))
        .map(|finding| format!("{} {} {}", finding.code, finding.subject, finding.text))
        .collect();
    assert_eq!(
        told,
        [
            "I020 mxc://dump.test/AAbba the file has 7 bytes, Synapse recorded 8",
            "I021 mxc://dump.test/AAbba has the same content as quarantined media",
            "I022 mxc://dump.test/AAbba its content type can't stand in a header, so it moves without one",
            "I022 mxc://dump.test/AAbba its uploader is no user of this server, so it moves without one",
        ]
    );
    assert_eq!(media.findings(&store, &[]), Vec::<String>::new());
}

#[test]
fn a_store_that_is_not_there_ends_the_import_with_a_remedy() {
    let mut media = good();
    fs::rename(media.path("store"), media.path("moved")).unwrap();
    let error = media.import(&mut MemoryStore::default()).unwrap_err();
    assert!(error.to_string().contains("`--media-store`"), "{error}");
    media.target.store = Some(media.path("moved"));
    let (store, imported) = media.imported();
    assert_eq!(imported.tally.skipped, []);
    // The store is still elsewhere: contents that nobody noted can't be compared, what was noted is.
    assert_eq!(media.findings(&store, &imported.tally.skipped), Vec::<String>::new());
}

fn put(store: &mut MemoryStore, tree: &'static Tree, key: &[u8], value: &[u8]) {
    store.write(vec![Row { tree, key: key.to_vec(), value: value.to_vec() }]).unwrap();
}

/// Changes the value of a row.
fn edit(
    store: &mut MemoryStore,
    tree: &'static Tree,
    key: &[u8],
    change: impl FnOnce(&mut Vec<u8>),
) {
    let mut value = store.get(tree, key).unwrap().unwrap();
    change(&mut value);
    put(store, tree, key, &value);
}

type Damage = fn(&Move, &mut MemoryStore);

#[test]
fn each_difference_is_reported_by_its_code() {
    const A: &[u8] = b"dump.test\xffAAbba";
    const C: &[u8] = b"dump.test\xffAAbbc";
    let cases: [(&str, Damage); 19] = [
        ("V140 No such file", |m, _| fs::remove_file(m.file("a picture")).unwrap()),
        ("V140 no regular file", |m, _| {
            fs::remove_file(m.file("a picture")).unwrap();
            symlink(m.path("store/local_content/AA/bb/a"), m.file("a picture")).unwrap();
        }),
        ("V140 the media directory is not there", |m, _| {
            fs::remove_dir_all(m.target.directory.path()).unwrap();
        }),
        ("V141 has another content", |m, _| fs::write(m.file("a picture"), "A picture").unwrap()),
        ("V141 its row says 10", |_, s| {
            edit(s, &trees::FILEHASH_METADATA, hash("a picture").as_bytes(), |v| v[7] += 1);
        }),
        ("V142 no row names", |m, _| {
            let file = m.file("another");
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "another").unwrap();
        }),
        ("V142 no row names", |m, _| {
            fs::write(m.target.directory.path().join("README"), "").unwrap();
        }),
        ("V124 its file has no row", |_, s| {
            assert!(s.remove(&trees::FILEHASH_METADATA, hash("a picture").as_bytes()));
        }),
        ("V124 its file does not name it", |_, s| {
            let key = [hash("a picture").as_bytes(), A].concat();
            assert!(s.remove(&trees::FILEHASH_SERVERNAME_MEDIAID, &key));
        }),
        ("V124 its uploader does not name it", |_, s| {
            let key = b"dump.test\xffada\xffAAbba";
            assert!(s.remove(&trees::SERVERNAME_USERLOCALPART_MEDIAID, key));
        }),
        ("V124 names another uploader", |_, s| {
            put(s, &trees::SERVERNAME_USERLOCALPART_MEDIAID, b"dump.test\xffeve\xffAAbba", b"");
        }),
        ("V201 the media is missing", |_, s| {
            assert!(s.remove(&trees::SERVERNAMEMEDIAID_METADATA, A));
        }),
        ("V202 is media that", |_, s| {
            edit(s, &trees::SERVERNAMEMEDIAID_METADATA, A, |_| {});
            let value = s.get(&trees::SERVERNAMEMEDIAID_METADATA, A).unwrap().unwrap();
            put(s, &trees::SERVERNAMEMEDIAID_METADATA, b"dump.test\xffnew", &value);
        }),
        ("V202 is blocked", |_, s| {
            put(s, &trees::BLOCKED_SERVERNAME_MEDIAID, b"dump.test\xffnew", &[0; 8]);
        }),
        ("V203 name, type or access", |_, s| {
            edit(s, &trees::SERVERNAMEMEDIAID_METADATA, A, |value| {
                assert_eq!(value.pop(), Some(0xff));
            });
        }),
        ("V203 its content is", |_, s| {
            let hash = hash("a secret");
            edit(s, &trees::SERVERNAMEMEDIAID_METADATA, A, |value| {
                value[..32].copy_from_slice(hash.as_bytes());
            });
        }),
        ("V203 its uploader", |_, s| {
            put(s, &trees::SERVERNAMEMEDIAID_USERLOCALPART, A, b"eve");
        }),
        ("V203 its times", |_, s| {
            let hash = hash("a picture");
            edit(s, &trees::FILEHASH_METADATA, hash.as_bytes(), |v| {
                v[8..16].copy_from_slice(&NOW.to_be_bytes());
            });
        }),
        ("V203 is quarantined", |_, s| {
            assert!(s.remove(&trees::BLOCKED_SERVERNAME_MEDIAID, C));
        }),
    ];
    for (expected, damage) in cases {
        let media = good();
        let (mut store, imported) = media.imported();
        damage(&media, &mut store);
        let (code, text) = expected.split_once(' ').unwrap();
        for skipped in [&*imported.tally.skipped, &[]] {
            let found = media.findings(&store, skipped);
            let fits = |line: &String| line.starts_with(code) && line.contains(text);
            assert!(found.iter().any(fits), "{expected} not among {found:#?}");
        }
    }
}
