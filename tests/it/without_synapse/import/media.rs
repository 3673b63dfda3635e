//! Media from a dump into Conduit's directory and rows: what moves, what is left out and why, and that `verify` sees each
//! difference.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, symlink},
    path::{Path, PathBuf},
};

use importer::{
    conduit::{
        schema::{
            dialect::Dialect,
            media_name,
            trees::{self, TREES, Tree},
        },
        store::{self, Backend, Changes, KvLoad as _, KvRead, NewStore, Row, memory::MemoryStore},
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
fn files_that_were_copied_beforehand_are_linked_and_the_rows_are_the_same() {
    let (expected, _) = good().imported();
    let mut media = good();
    media.prepare();
    let (store, imported) = media.imported();
    assert_eq!(rows(&store), rows(&expected));
    assert_eq!((imported.linked.files, imported.linked.contents.len()), (5, 4));
    let inode = |path: &Path| fs::metadata(path).unwrap().ino();
    let prepared = media.target.prepared.as_ref().unwrap().file(&hash("a picture"));
    assert_eq!(inode(&media.file("a picture")), inode(&prepared));
    for how in [MediaComparison::Sample, MediaComparison::All] {
        assert_eq!(media.findings_after(&store, &imported, how), Vec::<String>::new());
    }
    assert_eq!(media.findings(&store, &[]), Vec::<String>::new());
}

#[test]
fn files_that_have_changed_since_they_were_copied_are_read_again() {
    let source =
        |media: &Move, letter: char| media.path(&format!("store/local_content/AA/bb/{letter}"));
    let change = |media: &Move| {
        // Another content of the same size, another time alone, a file that is gone, a content that is not the noted one.
        fs::write(source(media, 'a'), "A picture").unwrap();
        let file = fs::File::options().write(true).open(source(media, 'b')).unwrap();
        file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        fs::remove_file(source(media, 'c')).unwrap();
    };
    let mut media = good();
    media.prepare();
    let other = good();
    for media in [&media, &other] {
        change(media);
    }
    let ((store, imported), (expected, without)) = (media.imported(), other.imported());
    assert_eq!(rows(&store), rows(&expected));
    assert_eq!(imported.tally, without.tally);
    let reasons: Vec<_> = imported.tally.skipped.iter().map(|skip| skip.reason.as_str()).collect();
    assert_eq!(reasons, ["file-damaged", "file-missing"]);
    assert_eq!(imported.linked.files, 2);
    let found = media.findings_after(&store, &imported, MediaComparison::Sample);
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn a_file_copied_beforehand_that_is_damaged_is_found_in_the_sample_or_if_all_are_read() {
    let content = |number: usize| format!("content {number:03}");
    let path = |number: usize| format!("local_content/AA/bb/{number:03}");
    let files: Vec<_> = (0..60).map(|number| (path(number), content(number))).collect();
    let files: Vec<_> = files.iter().map(|(path, content)| (&**path, &**content)).collect();
    let record = |number: usize| {
        upload('x', json!({"media_id": format!("AAbb{number:03}"), "path": path(number)}))
    };
    let records: Vec<_> = (0..60).map(record).collect();
    let mut sorted: Vec<_> = (0..60).map(|number| (hash(&content(number)), number)).collect();
    sorted.sort();
    // Of sixty, every third is read.
    for (place, is_found) in [(0, true), (1, false), (2, false), (3, true), (59, false)] {
        let number = sorted[place].1;
        let mut media = prepare(&files, &records);
        media.prepare();
        let (store, imported) = media.imported();
        fs::write(media.file(&content(number)), "damaged 001").unwrap();
        let found = media.findings_after(&store, &imported, MediaComparison::Sample);
        assert_eq!(found.iter().any(|line| line.starts_with("V143 ")), is_found, "{found:?}");
        let found = media.findings_after(&store, &imported, MediaComparison::All);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("V143 ") && found[0].contains("has another content"));
        // The size is looked at in any case.
        fs::write(media.file(&content(number)), "short").unwrap();
        let found = media.findings_after(&store, &imported, MediaComparison::Sample);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("V143 "), "{found:?}");
    }
    // A file that is none of those which were copied beforehand is read, whatever the import says of it.
    let mut media = prepare(&files, &records);
    media.prepare();
    let (store, imported) = media.imported();
    let file = media.file(&content(sorted[1].1));
    fs::remove_file(&file).unwrap();
    fs::write(file, "another 001").unwrap();
    let found = media.findings_after(&store, &imported, MediaComparison::Sample);
    assert_eq!(found.len(), 1, "{found:?}");
    // A file of Synapse's that has changed, and looks as before.
    let mut media = prepare(&files, &records);
    media.prepare();
    let (store, imported) = media.imported();
    let source = media.path(&format!("store/{}", path(sorted[1].1)));
    let modified = fs::metadata(&source).unwrap().modified().unwrap();
    fs::write(&source, "changed 001").unwrap();
    let file = fs::File::options().write(true).open(&source).unwrap();
    file.set_modified(modified).unwrap();
    let found = media.findings_after(&store, &imported, MediaComparison::Sample);
    assert_eq!(found, Vec::<String>::new());
    let found = media.findings_after(&store, &imported, MediaComparison::All);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("V143 ") && found[0].contains("its content is"), "{found:?}");
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

/// A move to Continuwuity: two ids of one content, another content, and what is quarantined.
fn to_continuwuity() -> (Move, PathBuf, Vec<Skip>) {
    let files = [
        ("local_content/AA/bb/a", "same"),
        ("local_content/AA/bb/b", "same"),
        ("local_content/AA/bb/c", "other"),
        ("local_content/AA/bb/q", "bad"),
    ];
    let described = json!({
        "upload_name": "Grüße.txt", "content_type": "text/plain", "uploader": "@ann:dump.test",
    });
    let records = [
        upload('a', described),
        upload('b', json!({})),
        upload('c', json!({})),
        upload('q', json!({"quarantined_by": "@admin:dump.test"})),
    ];
    let mut moved = prepare(&files, &records);
    moved.target.directory = ContentDirectory::new(moved.path("media"), Layout::Flat);
    let directory = moved.path("database");
    let new = NewStore {
        directory: &directory,
        backend: Backend::Rocksdb,
        dialect: Dialect::Continuwuity,
        server_name: OWN,
    };
    let mut store = store::create(&new).unwrap();
    let imported =
        import::import(&moved.dump, store.as_mut(), Some(&moved.target), &Progress::Hidden);
    let tally = imported.unwrap().tally;
    assert_eq!(tally.unbalanced(), [], "{tally:?}");
    (moved, directory, tally.skipped)
}

#[test]
fn continuwuity_has_a_name_for_each_media_id() {
    let (moved, database, skipped) = to_continuwuity();
    let store = store::read(Backend::Rocksdb, &database).unwrap();
    let left: Vec<_> = skipped.iter().map(|skip| (&*skip.item, &*skip.reason)).collect();
    assert_eq!(
        left,
        [("mxc://dump.test/AAbbq", "not-in-conduit"), ("mxc://dump.test/AAbbq", "quarantined")]
    );
    let mut inodes: Vec<_> = importer::fs::files_below(&moved.path("media"))
        .map(|file| file.unwrap().metadata().unwrap().ino())
        .collect();
    assert_eq!(inodes.len(), 3);
    inodes.sort_unstable();
    inodes.dedup();
    assert_eq!(inodes.len(), 2);
    let rows = store.scan(&trees::MEDIAID_FILE, &[]).unwrap().map(Result::unwrap);
    let keys: Vec<_> =
        rows.map(|(key, _)| String::from_utf8_lossy(&key).replace('\0', "0")).collect();
    assert_eq!(
        keys,
        [
            "mxc://dump.test/AAbba\u{fffd}00000000\u{fffd}attachment; filename*=utf-8''Gr%C3%BC%C3%9Fe.txt\u{fffd}text/plain",
            "mxc://dump.test/AAbbb\u{fffd}00000000\u{fffd}attachment\u{fffd}",
            "mxc://dump.test/AAbbc\u{fffd}00000000\u{fffd}attachment\u{fffd}",
        ]
    );
    let user = b"mxc://dump.test/AAbba\xff@ann:dump.test";
    assert_eq!(store.get(&trees::MEDIAID_USER, user).unwrap(), Some(b"@ann:dump.test".to_vec()));
}

#[test]
fn each_difference_of_continuwuitys_media_is_found() {
    let (moved, database, skipped) = to_continuwuity();
    let findings = || {
        let store = store::read(Backend::Rocksdb, &database).unwrap();
        let files = Files { directory: &moved.target.directory, store: None, linked: None };
        moved.findings_of(store.as_ref(), files, &skipped)
    };
    assert_eq!(findings(), Vec::<String>::new());
    let has = |expected: &str| {
        let found = findings();
        assert!(found.iter().any(|found| found.contains(expected)), "{expected}: {found:?}");
    };
    let key = |letter: char, name: &str, kind: &str| {
        media_name::key(&format!("mxc://dump.test/AAbb{letter}"), name, kind)
    };
    let path = |key: &[u8]| moved.path("media").join(media_name::on_disk(key));

    let of_c = path(&key('c', "", ""));
    fs::rename(&of_c, moved.path("aside")).unwrap();
    has("No such file");
    fs::write(&of_c, "wrong").unwrap();
    has("has another content");
    fs::remove_file(&of_c).unwrap();
    fs::rename(moved.path("aside"), &of_c).unwrap();
    // One of two links to one file becomes a file of its own.
    let of_b = path(&key('b', "", ""));
    fs::remove_file(&of_b).unwrap();
    fs::write(&of_b, "wrong").unwrap();
    has("has another content");
    fs::write(&of_b, "same").unwrap();
    assert_eq!(findings(), Vec::<String>::new());
    fs::write(moved.path("media/extra"), "").unwrap();
    has("extra: is a file in the media directory that no row names");
    fs::remove_file(moved.path("media/extra")).unwrap();

    let change = |tree: &'static Tree, key: Vec<u8>, value: Option<Vec<u8>>| {
        let mut store = store::change(Backend::Rocksdb, &database).unwrap();
        store.commit(Changes::from([((tree, key), value)])).unwrap();
    };
    change(&trees::MEDIAID_FILE, key('c', "", ""), None);
    has("its row in `mediaid_file` differs");
    change(&trees::MEDIAID_FILE, key('c', "", ""), Some(Vec::new()));
    change(&trees::MEDIAID_FILE, key('c', "other", ""), Some(Vec::new()));
    has("its row in `mediaid_file` differs");
    change(&trees::MEDIAID_FILE, key('c', "other", ""), None);
    change(&trees::MEDIAID_FILE, key('z', "", ""), Some(Vec::new()));
    has("mxc://dump.test/AAbbz: is a file that nothing else names");
    change(&trees::MEDIAID_FILE, key('z', "", ""), None);
    let user = b"mxc://dump.test/AAbba\xff@ann:dump.test".to_vec();
    change(&trees::MEDIAID_USER, user.clone(), None);
    has("its uploader has no row in `mediaid_user`");
    change(&trees::MEDIAID_USER, user, Some(b"@ann:dump.test".to_vec()));
    assert_eq!(findings(), Vec::<String>::new());
}
