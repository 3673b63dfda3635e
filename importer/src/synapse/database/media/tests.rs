use std::{fs, path::Path};

use serde_json::json;

use super::super::testing::{Dumped, Fixture, NOW, config};
use crate::{
    dump::{DumpReader, Extent, History, MediaFiles},
    progress::Progress,
    source::{
        Source as _, SourceError,
        dump::{DumpError, dump},
    },
    synapse::database::{DatabaseError, DatabaseSource},
    tally::{Kind, Tally},
};

const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

/// Rows of every kind.
pub(in super::super) fn everything(fixture: &mut Fixture) {
    let local = "INSERT INTO local_media_repository (media_id, media_type, media_length, created_ts, upload_name, \
                 user_id, quarantined_by, url_cache, last_access_ts, authenticated, sha256) VALUES";
    let remote = "INSERT INTO remote_media_cache (media_origin, media_id, media_type, created_ts, upload_name, \
                  media_length, filesystem_id, last_access_ts, quarantined_by, authenticated, sha256) VALUES";
    for row in [
        format!("('AAbbcc', 'image/png', 3, 5, 'a 🌻.png', '@alice:own.test', NULL, NULL, 7, TRUE, '{ABC}')"),
        "('AAbbdd', NULL, 3, 5, NULL, NULL, '@root:own.test', NULL, NULL, NULL, NULL)".into(),
        "('AAbbee', 'text/plain', -1, -5, NULL, '@alice:own.test', NULL, NULL, NULL, FALSE, 'no hash')".into(),
        "('AAbbff', NULL, NULL, 5, NULL, '@alice:own.test', NULL, NULL, NULL, TRUE, NULL)".into(),
        "('../../x', 'text/plain', 3, 5, NULL, '@alice:own.test', NULL, NULL, NULL, TRUE, NULL)".into(),
        "('2026-11-23_x', 'image/png', 3, 5, NULL, '@alice:own.test', NULL, 'https://x.test/', NULL, TRUE, NULL)".into(),
    ] {
        fixture.sql(&format!("{local} {row}"));
    }
    for row in [
        "('far.test', 'one', 'image/png', 5, 'far', 3, 'FFggHH', 6, NULL, TRUE, NULL)",
        "('far.test', 'two', 'image/png', 5, 'far', 3, 'FFggII', 6, '@root:own.test', TRUE, NULL)",
        "('far/test', 'three', 'image/png', 5, 'far', 3, 'FFggJJ', 6, NULL, TRUE, NULL)",
    ] {
        fixture.sql(&format!("{remote} {row}"));
    }
    fixture.sql("INSERT INTO local_media_repository_thumbnails VALUES ('AAbbcc'), ('AAbbcc')");
    fixture.sql("INSERT INTO remote_media_cache_thumbnails VALUES ('one')");
}

fn options(media: MediaFiles, remote_media: bool) -> Extent {
    Extent { media, remote_media, ..Extent::FULL }
}

/// A source of this extent, with a store with some files.
async fn source(directory: &Path, extent: Extent) -> DatabaseSource {
    let mut fixture = Fixture::new();
    everything(&mut fixture);
    let mut config = config(fixture.sqlite(directory));
    config.media_store_path = directory.join("store");
    DatabaseSource::open(&config, extent, NOW).await.unwrap()
}

/// A dump of this extent, of a store with some files.
async fn dumped(directory: &Path, extent: Extent) -> Result<(DumpReader, Tally), DumpError> {
    let mut source = source(directory, extent).await;
    let path = directory.join("dump");
    let pending = std::future::pending();
    let manifest = dump(&mut source, &path, None, NOW, &Progress::Hidden, pending).await?;
    assert_eq!(manifest.tally.unbalanced(), [], "{:?}", manifest.tally);
    Ok((DumpReader::open(&path, |_| {}).unwrap(), manifest.tally))
}

fn write(directory: &Path, path: &str, content: &str) {
    let path = directory.join("store").join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// Skips of media, as item and reason.
fn skips(tally: &Tally) -> Vec<(&str, &str, u64)> {
    let skips = tally.skipped.iter();
    skips.map(|skip| (&*skip.item, &*skip.reason, skip.number)).collect()
}

#[tokio::test]
async fn the_files_to_which_a_dump_refers_are_known_without_one() {
    for remote_media in [false, true] {
        let extent = options(MediaFiles::Refer, remote_media);
        let [first, second] = [(), ()].map(|()| tempfile::tempdir().unwrap());
        let (dump, _) = dumped(first.path(), extent).await.unwrap();
        let records = dump.media().unwrap().unwrap();
        let mut expected: Vec<_> = records.filter_map(|record| record.unwrap().path).collect();
        expected.sort();
        let files = source(second.path(), extent).await.media_files().await.unwrap().unwrap();
        assert_eq!(files.paths, expected);
        assert_eq!(files.store.roots(), [second.path().join("store")]);
        let is_remote = |path: &String| path.starts_with("remote_content/");
        assert_eq!(expected.iter().any(is_remote), remote_media);
    }
    for media in [MediaFiles::Copy, MediaFiles::None] {
        let directory = tempfile::tempdir().unwrap();
        let mut source = source(directory.path(), options(media, true)).await;
        assert!(source.media_files().await.unwrap().is_none());
    }
}

#[tokio::test]
async fn rows_are_dumped_and_what_is_left_out_is_counted() {
    let Dumped { media, skipped, .. } = {
        let mut fixture = Fixture::new();
        everything(&mut fixture);
        fixture.dump(History::Full).await
    };
    let own = |id: &str, mut more: serde_json::Value| {
        more["server"] = json!("own.test");
        more["media_id"] = json!(id);
        more["path"] = json!(format!("local_content/AA/bb/{}", id.split_at(4).1));
        more
    };
    assert_eq!(
        media,
        [
            own(
                "AAbbcc",
                json!({
                    "sha256": ABC, "bytes": 3, "content_type": "image/png", "upload_name": "a 🌻.png",
                    "created_ts": 5, "last_access_ts": 7, "uploader": "@alice:own.test",
                })
            ),
            own(
                "AAbbdd",
                json!({"bytes": 3, "created_ts": 5, "quarantined_by": "@root:own.test", "unauthenticated": true})
            ),
            own(
                "AAbbee",
                json!({"content_type": "text/plain", "created_ts": 0, "uploader": "@alice:own.test", "unauthenticated": true})
            ),
            json!({
                "server": "far.test", "media_id": "two", "bytes": 3, "content_type": "image/png", "upload_name": "far",
                "created_ts": 5, "last_access_ts": 6, "quarantined_by": "@root:own.test",
            }),
        ]
    );
    let skipped: Vec<_> =
        skipped.iter().map(|(kind, item, reason)| format!("{kind} {item}: {reason}")).collect();
    assert_eq!(
        skipped,
        [
            "media ../../x: media-id-invalid",
            "media AAbbff: not-uploaded",
            "remote-media all: not-asked",
            "thumbnail all: made-anew",
            "url-preview all: cache",
        ]
    );
}

#[tokio::test]
async fn files_are_copied_and_files_without_a_row_are_named() {
    let scratch = tempfile::tempdir().unwrap();
    write(scratch.path(), "local_content/AA/bb/cc", "abc");
    write(scratch.path(), "local_content/AA/bb/ee", "abc");
    write(scratch.path(), "local_content/zz/zz/or\nphan", "nobody's");
    write(scratch.path(), "remote_content/far.test/FF/gg/HH", "abc");
    write(scratch.path(), "remote_content/far.test/FF/gg/KK", "nobody's");
    let (dump, tally) = dumped(scratch.path(), options(MediaFiles::Copy, true)).await.unwrap();
    let records: Vec<_> = dump.media().unwrap().unwrap().map(Result::unwrap).collect();
    let copied = format!("ba/78/{}", ABC.split_at(4).1);
    let paths: Vec<_> =
        records.iter().map(|record| (&*record.media_id, record.path.as_deref())).collect();
    assert_eq!(
        paths,
        [
            ("AAbbcc", Some(&*copied)),
            // Quarantined, and without a file.
            ("AAbbdd", None),
            ("AAbbee", Some(&*copied)),
            ("one", Some(&*copied)),
            ("two", None),
        ]
    );
    assert!(records[0].path.is_some() && records[3].sha256.as_deref() == Some(ABC));
    assert_eq!(fs::read_to_string(dump.media_directory().join(&copied)).unwrap(), "abc");
    assert_eq!(
        skips(&tally),
        [
            ("../../x", "media-id-invalid", 1),
            ("AAbbff", "not-uploaded", 1),
            ("local_content/zz/zz/or\\nphan", "file-without-row", 1),
            ("mxc://own.test/AAbbdd", "file-missing", 1),
            ("mxc://far.test/two", "file-missing", 1),
            ("remote_content/far.test/FF/gg/KK", "file-without-row", 1),
            ("three", "media-id-invalid", 1),
            ("all", "made-anew", 3),
            ("all", "cache", 1),
        ]
    );
    assert_eq!(tally.written[&Kind::Media], 2);
}

#[tokio::test]
async fn without_media_the_quarantine_stays() {
    let scratch = tempfile::tempdir().unwrap();
    let (dump, tally) = dumped(scratch.path(), options(MediaFiles::None, true)).await.unwrap();
    let records = dump.media().unwrap().unwrap().map(Result::unwrap);
    let records: Vec<_> = records.map(|record| (record.media_id, record.path)).collect();
    assert_eq!(records, [("AAbbdd".to_owned(), None), ("two".to_owned(), None)]);
    assert_eq!((tally.read[&Kind::Media], tally.read[&Kind::RemoteMedia]), (5, 3));
    assert_eq!(tally.written[&Kind::Quarantine], 2);
}

#[tokio::test]
async fn a_store_that_is_not_there_can_not_be_copied() {
    let scratch = tempfile::tempdir().unwrap();
    let error = dumped(scratch.path(), options(MediaFiles::Copy, false)).await.unwrap_err();
    let DumpError::Source(SourceError::Homeserver(error)) = error else { panic!("{error}") };
    let Some(DatabaseError::MediaStoreMissing { path }) = error.downcast_ref() else {
        panic!("{error}")
    };
    assert_eq!(*path, scratch.path().join("store"));
}
