//! Media of a database for Continuwuity: a file for each id.

use std::{fs, os::unix::fs::MetadataExt as _, path::PathBuf};

use importer::{
    conduit::{
        schema::{
            dialect::Dialect,
            media_name,
            trees::{self, Tree},
        },
        store::{self, Backend, Changes, NewStore},
    },
    fs::{ContentDirectory, Layout},
    import,
    progress::Progress,
    tally::Skip,
    verify::Files,
};
use serde_json::json;

use super::{Move, OWN, prepare, upload};

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
    // Once the server has run, it may have deleted its own rows of a file.
    change(&trees::GLOBAL, b"c".to_vec(), Some((1_u64 << 60).to_be_bytes().to_vec()));
    change(&trees::MEDIAID_FILE, key('c', "", ""), None);
    let rows = |found: &String| found.contains("mediaid_file");
    assert_eq!(findings().into_iter().filter(rows).collect::<Vec<_>>(), Vec::<String>::new());
}
