//! Media through the APIs.

use std::path::Path;

use reqwest::Method;
use serde_json::{Value, json};

use super::fake::Fake;
use crate::{
    dump::{DumpWriter, Extent, MediaFiles, format::DumpMedia},
    progress::Progress,
    source::Source as _,
    synapse::api::{ApiOptions, ApiSource},
    tally::{Kind, Tally},
};

const LIST: &str = "/_synapse/admin/v1/users/@alice:example.org/media";
const CHANGES: &str = "/_synapse/admin/v1/media/quarantine_changes";

fn download(media_id: &str) -> String {
    format!("/_matrix/client/v1/media/download/example.org/{media_id}")
}

async fn fake() -> Fake {
    let fake = Fake::start().await;
    fake.answer("/_synapse/admin/v2/users", json!({"users": [{"name": "@alice:example.org"}]}));
    fake.answer(
        LIST,
        json!({"media": [
            {"media_id": "a", "media_type": "text/plain", "media_length": 3, "upload_name": "ä", "created_ts": 5,
             "last_access_ts": 6, "quarantined_by": null, "authenticated": 1, "sha256": null, "url_cache": null},
            {"media_id": "b", "media_length": 3, "created_ts": 5, "quarantined_by": "@root:example.org"},
            {"media_id": "c", "media_length": 3, "created_ts": 5, "authenticated": true, "sha256": "00".repeat(32)},
            {"media_id": "gone", "media_length": 3, "created_ts": 5, "authenticated": null},
            {"media_id": "reserved", "media_length": null, "created_ts": 5},
            {"media_id": "preview", "media_length": 3, "created_ts": 5, "url_cache": "https://x.test/"},
        ]}),
    );
    for media_id in ["a", "b", "c", "preview"] {
        fake.text(&download(media_id), "abc");
    }
    fake.reply(&Method::GET, &download("gone"), 404, json!({"errcode": "M_NOT_FOUND"}));
    fake.answer(
        CHANGES,
        json!({"next_batch": 0, "changes": [
            {"origin": "far.test", "media_id": "x", "quarantined": 1},
            {"origin": "far.test", "media_id": "y", "quarantined": true},
            {"origin": "far.test", "media_id": "y", "quarantined": false},
            {"origin": "example.org", "media_id": "b", "quarantined": true},
        ]}),
    );
    fake
}

/// The records, and what was counted.
async fn dumped(fake: &Fake, directory: &Path, media: MediaFiles) -> (Vec<DumpMedia>, Tally) {
    let extent = Extent { media, ..fake.options().extent };
    let options = ApiOptions { extent, ..fake.options() };
    let mut source = ApiSource::connect(options).await.unwrap();
    let mut tally = Tally::default();
    source.users(&mut tally).await.unwrap();
    let mut tally = Tally::default();
    let writer = DumpWriter::create(&directory.join("dump")).unwrap();
    source.media(&writer, &mut tally, &Progress::Hidden).await.unwrap();
    assert_eq!(tally.unbalanced(), []);
    let lines = std::fs::read_to_string(directory.join("dump.partial/media.jsonl")).unwrap();
    (lines.lines().skip(1).map(|line| serde_json::from_str(line).unwrap()).collect(), tally)
}

fn skips(tally: &Tally) -> Vec<String> {
    let text = |skip: &crate::tally::Skip| format!("{} {}", skip.item, skip.reason);
    tally.skipped.iter().map(text).collect()
}

#[tokio::test]
async fn uploads_are_fetched_and_what_is_not_given_is_named() {
    let (fake, scratch) = (fake().await, tempfile::tempdir().unwrap());
    let (records, tally) = dumped(&fake, scratch.path(), MediaFiles::Copy).await;
    let hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let path = format!("ba/78/{}", hash.split_at(4).1);
    let records: Value = serde_json::to_value(records).unwrap();
    assert_eq!(
        records,
        json!([
            {"server": "example.org", "media_id": "a", "path": path, "sha256": hash, "bytes": 3,
             "content_type": "text/plain", "upload_name": "ä", "created_ts": 5, "last_access_ts": 6,
             "uploader": "@alice:example.org"},
            {"server": "example.org", "media_id": "b", "path": path, "sha256": hash, "bytes": 3, "created_ts": 5,
             "uploader": "@alice:example.org", "quarantined_by": "@root:example.org", "unauthenticated": true},
            {"server": "far.test", "media_id": "x", "created_ts": 0, "quarantined_by": "an administrator"},
        ])
    );
    let file = scratch.path().join("dump.partial/media").join(path);
    assert_eq!(std::fs::read_to_string(file).unwrap(), "abc");
    assert_eq!(
        skips(&tally),
        [
            "mxc://example.org/c file-damaged",
            "mxc://example.org/gone not-given",
            "mxc://example.org/reserved not-uploaded",
            "mxc://example.org/preview cache",
        ]
    );
    assert_eq!((tally.written[&Kind::Media], tally.written[&Kind::Quarantine]), (2, 2));
    assert_eq!(fake.requests(&download("preview")).await, 0);
}

#[tokio::test]
async fn without_media_no_file_is_fetched_and_the_quarantine_stays() {
    let (fake, scratch) = (fake().await, tempfile::tempdir().unwrap());
    fake.status(CHANGES, 404);
    let (records, tally) = dumped(&fake, scratch.path(), MediaFiles::None).await;
    let ids: Vec<_> = records.iter().map(|record| (&*record.media_id, &record.path)).collect();
    assert_eq!(ids, [("b", &None)]);
    assert_eq!(fake.requests(&download("a")).await, 0);
    assert!(skips(&tally).contains(&"files of other servers not-given".to_owned()));
}
