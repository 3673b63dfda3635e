//! Media: the rows that describe files, and the files of Synapse's media store.
//!
//! Thumbnails are left out: Conduit makes its own when somebody asks. So are images of URL previews. What is quarantined
//! is dumped even if its file is not: Conduit would otherwise fetch it anew from the other server.

mod orphans;
mod record;
mod sink;

use std::collections::BTreeSet;

use ruma::ServerName;

use self::{
    orphans::KnownPaths,
    record::{LOCAL, MediaTable, NoRecord, REMOTE, WantedRows, local, remote},
    sink::MediaSink,
};
use super::{
    DatabaseError, Facts,
    connection::Connection,
    row::{KeptRow, Row},
    schema::Schema,
};
use crate::{
    dump::{
        DumpWriter, Extent, MediaFiles, MediaStore,
        format::{DumpMedia, DumpMediaHead},
    },
    fs::{ContentDirectory, Layout},
    progress::Progress,
    source::{ReferredFiles, SourceError},
    synapse::config::SynapseConfig,
    tally::{Kind, Tally},
};

/// Which rows are read of each table, and how many they are.
struct Wanted {
    local: WantedRows,
    remote: WantedRows,
    number: u64,
}

/// Writes `media.jsonl`, and the files if they are copied.
pub(super) async fn write(
    db: &mut Connection,
    facts: &Facts,
    writer: &DumpWriter,
    tally: &mut Tally,
    progress: &Progress,
) -> Result<(), SourceError> {
    let Facts { schema, config, extent, .. } = facts;
    count_derived(db, tally).await?;
    let wanted = wanted(db, extent, tally).await?;
    let store = store(config, extent.media)?;
    let refers = extent.media == MediaFiles::Refer;
    let stores = store.roots().iter().map(|root| root.display().to_string());
    let head = DumpMediaHead { stores: stores.filter(|_| refers).collect() };
    let copies = ContentDirectory::new(writer.media_directory(), Layout::default());
    let copies = (extent.media == MediaFiles::Copy).then_some(copies);
    let mut media = writer.media(&head)?;
    let phase = progress.phase("media file", usize::try_from(wanted.number).unwrap_or(usize::MAX));
    let mut sink = MediaSink::new(&mut media, &store, copies, tally, &phase)?;
    read_into(&mut sink, db, schema, &config.server_name, &wanted).await?;
    let known = sink.finish()?;
    if wanted.local == WantedRows::All {
        orphans::count(&store, &known, wanted.remote == WantedRows::All, tally);
    }
    Ok(writer.finish_media(media)?)
}

/// The files that [`write()`] would refer to. `None` if it would copy them, or leave them out.
pub(super) async fn files(
    db: &mut Connection,
    facts: &Facts,
) -> Result<Option<ReferredFiles>, DatabaseError> {
    let Facts { schema, config, extent, .. } = facts;
    if extent.media != MediaFiles::Refer {
        return Ok(None);
    }
    let server = &config.server_name;
    // Doubled rows have one path.
    let mut paths = BTreeSet::new();
    let mut take = |record: Result<DumpMedia, NoRecord>| {
        paths.extend(record.ok().and_then(|record| record.path));
    };
    let sql = record::local_sql(schema, WantedRows::All);
    db.each(LOCAL.table, &sql, &[], |row| take(local(row, server))).await?;
    if extent.remote_media {
        let sql = record::remote_sql(schema, WantedRows::All);
        db.each(REMOTE.table, &sql, &[], |row| take(remote(row))).await?;
    }
    let store = MediaStore::of_synapse(config.media_roots());
    Ok(Some(ReferredFiles { store, paths: paths.into_iter().collect() }))
}

/// Counts what the extent of the dump leaves out.
async fn wanted(
    db: &mut Connection,
    extent: &Extent,
    tally: &mut Tally,
) -> Result<Wanted, DatabaseError> {
    let mut wanted = Wanted { local: WantedRows::All, remote: WantedRows::All, number: 0 };
    let number = count(db, LOCAL).await?;
    let is_wanted = extent.media != MediaFiles::None;
    if is_wanted {
        wanted.number = number;
    } else {
        wanted.local = WantedRows::Quarantined;
        tally.rows.met(LOCAL.table, "", number);
        tally.rows.left_out(LOCAL.table, "not-asked", number);
        tally.leave_out(Kind::Media, number, "all", "not-asked", "`--media none` was given");
    }
    let number = count(db, REMOTE).await?;
    if is_wanted && extent.remote_media {
        wanted.number = wanted.number.saturating_add(number);
    } else {
        wanted.remote = WantedRows::Quarantined;
        let detail = "other servers still have them; `--remote-media` dumps what this one has";
        tally.rows.met(REMOTE.table, "", number);
        tally.rows.left_out(REMOTE.table, "not-asked", number);
        tally.leave_out(Kind::RemoteMedia, number, "all", "not-asked", detail);
    }
    Ok(wanted)
}

async fn read_into(
    sink: &mut MediaSink<'_, '_>,
    db: &mut Connection,
    schema: &Schema,
    server: &ServerName,
    wanted: &Wanted,
) -> Result<(), SourceError> {
    let sql = record::local_sql(schema, wanted.local);
    let local = |row: Row<'_>| match wanted.local {
        WantedRows::All => sink.row(Kind::Media, row, local(row, server)),
        WantedRows::Quarantined => sink.quarantined(local(row, server)),
    };
    db.each(LOCAL.table, &sql, &[], local).await?;
    let sql = record::remote_sql(schema, wanted.remote);
    let remote = |row: Row<'_>| match wanted.remote {
        WantedRows::All => sink.row(Kind::RemoteMedia, row, remote(row)),
        WantedRows::Quarantined => sink.quarantined(remote(row)),
    };
    db.each(REMOTE.table, &sql, &[], remote).await?;
    Ok(())
}

/// The media store.
fn store(config: &SynapseConfig, files: MediaFiles) -> Result<MediaStore, DatabaseError> {
    let main = &config.media_store_path;
    let store = MediaStore::of_synapse(config.media_roots());
    if !store.exists() && files != MediaFiles::None {
        if files == MediaFiles::Copy {
            return Err(DatabaseError::MediaStoreMissing { path: main.clone() });
        }
        tracing::warn!(
            "the media store `{}` is not on this machine; name it at the import",
            main.display()
        );
    }
    Ok(store)
}

/// Counts what Conduit makes anew or does without.
async fn count_derived(db: &mut Connection, tally: &mut Tally) -> Result<(), DatabaseError> {
    let mut thumbnails: u64 = 0;
    for table in ["local_media_repository_thumbnails", "remote_media_cache_thumbnails"] {
        let sql = format!("SELECT COUNT(*) FROM {table}");
        let rows = db.rows("thumbnails", &sql, &[]).await?;
        thumbnails = thumbnails.saturating_add(number(&rows));
    }
    let detail = "they are made anew when somebody asks for them";
    tally.leave_out(Kind::Thumbnail, thumbnails, "all", "made-anew", detail);
    let sql = "SELECT COUNT(*) FROM local_media_repository WHERE url_cache IS NOT NULL";
    let previews = number(&db.rows("local_media_repository", sql, &[]).await?);
    let detail = "Synapse fetched them for previews of links and forgets them after a while";
    tally.leave_out(Kind::UrlPreview, previews, "all", "cache", detail);
    Ok(())
}

async fn count(db: &mut Connection, media: MediaTable) -> Result<u64, DatabaseError> {
    let sql = format!("SELECT COUNT(*) {}", media.from);
    Ok(number(&db.rows(media.table, &sql, &[]).await?))
}

fn number(rows: &[KeptRow]) -> u64 {
    rows.first().and_then(|row| row.decode::<(u64,)>().ok()).map_or(0, |(number,)| number)
}

#[cfg(test)]
pub(super) mod tests;
