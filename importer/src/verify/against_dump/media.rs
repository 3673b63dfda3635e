//! Media rows against the dump, in both directions.

use std::collections::BTreeSet;

use rayon::prelude::*;
use ruma::UserId;

use crate::{
    conduit::{
        schema::{
            dialect::Dialect,
            shapes::{self, AuthenticatedFile, File, Media, OpenFile},
            table::{Shape, Table},
            trees,
        },
        store::KvRead,
    },
    dump::{DumpReader, MediaStore, format::DumpMedia},
    findings::{codes, collector::Findings},
    fs::{ContentHash, hash},
    hash::hash as hash_of,
    progress::Progress,
    tally::{Kind, Skip},
    verify::{
        VerifyError,
        against_dump::Skipped,
        structure::media::mxc,
        tools::{lookup::get, prepared::Unread},
    },
};

/// Records whose files are read at a time.
const CHUNK: usize = 512;

/// The content that a media record should have, by the source.
enum Expected {
    /// The file is there.
    Content(ContentHash),
    /// The file can't be moved.
    Nothing,
    /// Neither the dump nor a file tells which.
    Unknown,
}

/// Where the files of the dump are.
#[derive(Clone, Copy)]
pub(in crate::verify) struct Sources<'a> {
    /// Synapse's media store, or the dump's folder.
    pub(in crate::verify) store: &'a MediaStore,
    /// Those that need not be read.
    pub(in crate::verify) unread: &'a Unread<'a>,
}

pub(in crate::verify) fn compare(
    store: &dyn KvRead,
    dump: &DumpReader,
    files: Sources<'_>,
    skipped: &[Skip],
    progress: Progress,
    found: &mut Findings,
) -> Result<(), VerifyError> {
    let Some(mut records) = dump.media()? else { return Ok(()) };
    let written = &dump.manifest().tally.written;
    let total = written.get(&Kind::Media).copied().unwrap_or(0);
    let phase = progress.phase("media file", usize::try_from(total).unwrap_or(usize::MAX));
    let compare = Compare {
        store,
        skipped: &Skipped::of(skipped),
        server_name: &dump.manifest().server_name,
        now: dump.manifest().created_ts,
        unread: files.unread,
    };
    let has_files = files.store.exists();
    let mut seen = BTreeSet::new();
    loop {
        let chunk: Vec<DumpMedia> = records.by_ref().take(CHUNK).collect::<Result<_, _>>()?;
        if chunk.is_empty() || files.unread.is_over() {
            break;
        }
        let expected: Vec<_> =
            chunk.par_iter().map(|record| expected(record, files, has_files)).collect();
        for (record, expected) in chunk.iter().zip(expected) {
            compare.record(record, &expected, found)?;
            seen.insert(hash_of(&key(record)));
        }
        phase.advance(u64::try_from(chunk.len()).unwrap_or(u64::MAX));
    }
    extra(store, &seen, &trees::SERVERNAMEMEDIAID_METADATA, "is media", found)?;
    extra(store, &seen, &trees::BLOCKED_SERVERNAME_MEDIAID, "is blocked", found)
}

fn expected(record: &DumpMedia, files: Sources<'_>, has_files: bool) -> Expected {
    let Some(path) = &record.path else { return Expected::Nothing };
    let noted: Option<ContentHash> = record.sha256.as_deref().and_then(|hash| hash.parse().ok());
    if !has_files {
        return noted.map_or(Expected::Unknown, Expected::Content);
    }
    let Ok((mut file, _)) = files.store.open(path) else { return Expected::Nothing };
    let content = match files.unread.content(path, &file) {
        Some(content) => Ok(content),
        None => hash(&mut file).map(|(hash, _)| hash),
    };
    match content {
        Ok(hash) if noted.is_none_or(|noted| noted == hash) => Expected::Content(hash),
        _ => Expected::Nothing,
    }
}

/// The key of a record in every tree of media ids.
fn key(record: &DumpMedia) -> Vec<u8> {
    let id = Media { server: record.server.as_str(), media: &record.media_id };
    trees::SERVERNAMEMEDIAID_METADATA.key_of(&id)
}

struct Compare<'a> {
    store: &'a dyn KvRead,
    skipped: &'a Skipped<'a>,
    server_name: &'a str,
    now: u64,
    unread: &'a Unread<'a>,
}

impl Compare<'_> {
    fn record(
        &self,
        record: &DumpMedia,
        expected: &Expected,
        found: &mut Findings,
    ) -> Result<(), VerifyError> {
        let (key, uri) = (key(record), record.uri());
        if self.store.dialect() == Dialect::Continuwuity && record.quarantined_by.is_some() {
            if self.store.get(&trees::SERVERNAMEMEDIAID_METADATA, &key)?.is_some() {
                let text = "is quarantined, and Continuwuity would give it out";
                found.add(&codes::NOT_IN_DUMP, &uri, text);
            }
            return Ok(());
        }
        let is_blocked = self.store.get(&trees::BLOCKED_SERVERNAME_MEDIAID, &key)?.is_some();
        if self.store.dialect() == Dialect::Conduit && is_blocked != record.quarantined_by.is_some()
        {
            found.add(
                &codes::DIFFERS_FROM_DUMP,
                &uri,
                "is quarantined in one and not in the other",
            );
        }
        if record.path.is_none() {
            return Ok(());
        }
        let Some(value) = self.store.get(&trees::SERVERNAMEMEDIAID_METADATA, &key)? else {
            self.absent(record, expected, found);
            return Ok(());
        };
        let tree = &trees::SERVERNAMEMEDIAID_METADATA;
        let sha256 = value.first_chunk().unwrap_or(&[0; 32]);
        let filename = record.upload_name.as_deref().unwrap_or_default();
        let content_type = header(record.content_type.as_deref());
        let described = if record.unauthenticated {
            File::Open(OpenFile { sha256, filename, content_type })
        } else {
            File::Authenticated(AuthenticatedFile { sha256, filename, content_type })
        };
        if tree.value_of(&described) != value {
            found.add(&codes::DIFFERS_FROM_DUMP, &uri, "its name, type or access differs");
        }
        let hash = value.get(..32).and_then(|hash| ContentHash::try_from(hash).ok());
        match (expected, hash) {
            (Expected::Content(expected), Some(hash)) if *expected != hash => {
                let code = if self.unread.is_prepared(&hash) {
                    &codes::PREPARED_FILE_WRONG
                } else {
                    &codes::DIFFERS_FROM_DUMP
                };
                found.add(code, &uri, format!("its content is {hash}, not {expected}"));
            }
            (Expected::Nothing, _) => {
                found.add(
                    &codes::NOT_IN_DUMP,
                    &uri,
                    "has content, and the dump has none that can be moved",
                );
            }
            _ => {}
        }
        self.uploader(record, &key, found)?;
        hash.map_or(Ok(()), |hash| self.times(record, &hash, found))
    }

    fn absent(&self, record: &DumpMedia, expected: &Expected, found: &mut Findings) {
        let kind = if record.server == self.server_name { Kind::Media } else { Kind::RemoteMedia };
        let uri = record.uri();
        if !self.skipped.keeps(kind, &uri, || !matches!(expected, Expected::Nothing)) {
            return;
        }
        if matches!(expected, Expected::Unknown) && !self.skipped.explains(kind, &uri) {
            let text = "the media is missing, and whether its file existed is no longer known";
            found.add(&codes::MEDIA_MISSING_UNEXPLAINED, uri, text);
        } else {
            found.add(&codes::MISSING_IN_DATABASE, uri, "the media is missing");
        }
    }

    fn uploader(
        &self,
        record: &DumpMedia,
        key: &[u8],
        found: &mut Findings,
    ) -> Result<(), VerifyError> {
        let stored = self.store.get(&trees::SERVERNAMEMEDIAID_USERLOCALPART, key)?;
        let own = |user: &&str| {
            <&UserId>::try_from(*user).is_ok_and(|user| user.server_name() == self.server_name)
        };
        let is_own = record.server == self.server_name;
        let user = record.uploader.as_deref().filter(|user| is_own && own(user));
        let expected = user.and_then(|user| user.strip_prefix('@')?.split(':').next());
        if stored.as_deref() != expected.map(str::as_bytes) {
            found.add(&codes::DIFFERS_FROM_DUMP, record.uri(), "its uploader differs");
        }
        Ok(())
    }

    /// Several records may have one content: it is as old as the first and as fresh as the last.
    fn times(
        &self,
        record: &DumpMedia,
        hash: &ContentHash,
        found: &mut Findings,
    ) -> Result<(), VerifyError> {
        let key = shapes::ContentHash { sha256: hash.as_bytes() };
        let Some(value) = get(self.store, &trees::FILEHASH_METADATA, &key)? else {
            return Ok(());
        };
        let Ok(file) = trees::FILEHASH_METADATA.read_value(&[], &value) else { return Ok(()) };
        let latest = self.now.div_euclid(1000);
        let limit = |ts: u64| ts.div_euclid(1000).min(latest);
        let (created, accessed) = (file.created_seconds, file.last_access_seconds);
        let is_young = record.created_ts > 0 && created > limit(record.created_ts);
        let is_stale = record.last_access_ts.is_some_and(|ts| accessed < limit(ts));
        if is_young || is_stale || created > latest {
            found.add(
                &codes::DIFFERS_FROM_DUMP,
                record.uri(),
                "its times are not those of the dump",
            );
        }
        Ok(())
    }
}

fn extra<V: Shape>(
    store: &dyn KvRead,
    seen: &BTreeSet<u64>,
    table: &'static Table<Media<'static>, V>,
    what: &str,
    found: &mut Findings,
) -> Result<(), VerifyError> {
    for row in store.scan(table.tree(), &[])? {
        let (key, _) = row?;
        if seen.contains(&hash_of(&key)) {
            continue;
        }
        if let Ok(id) = table.read_key(&key) {
            found.add(&codes::NOT_IN_DUMP, mxc(&id), format!("{what} that the dump does not have"));
        }
    }
    Ok(())
}

/// A content type that can be a header; Conduit answers with an error if it can't.
fn header(kind: Option<&str>) -> &str {
    kind.filter(|kind| !kind.contains(char::is_control)).unwrap_or_default()
}
