//! Media: the rows that describe files, and the files of Synapse's media store.
//!
//! Thumbnails are left out: Conduit makes its own when somebody asks. So are images of URL previews. What is quarantined
//! is dumped even if its file is not: Conduit would otherwise fetch it anew from the other server.

mod orphans;
mod record;
mod sink;

use std::path::PathBuf;

use self::{
    orphans::Known,
    record::{LOCAL, REMOTE, Rows, local, remote},
    sink::Sink,
};
use super::{
    DatabaseError, DatabaseSource, MediaFiles, SourceError,
    row::{KeptRow, Row},
};
use crate::{
    dump::{DumpWriter, MediaStore, format::DumpMediaHead},
    fs::{ContentDirectory, Layout},
    progress::Progress,
    tally::{Kind, Tally},
};

/// Which rows are read of each table, and how many they are about.
struct Wanted {
    local: Rows,
    remote: Rows,
    number: u64,
}

impl DatabaseSource {
    pub(super) async fn read_media(
        &mut self,
        writer: &DumpWriter,
        tally: &mut Tally,
        progress: &Progress,
    ) -> Result<(), SourceError> {
        self.count_derived(tally).await?;
        let wanted = self.wanted(tally).await?;
        let store = self.store()?;
        let refers = self.media.files == MediaFiles::Refer;
        let stores = store.roots().iter().map(|root| root.display().to_string());
        let head = DumpMediaHead { stores: stores.filter(|_| refers).collect() };
        let copies = ContentDirectory::new(writer.media_directory(), Layout::default());
        let copies = (self.media.files == MediaFiles::Copy).then_some(copies);
        let mut media = writer.media(&head)?;
        let phase =
            progress.phase("media file", usize::try_from(wanted.number).unwrap_or(usize::MAX));
        let mut sink = Sink::new(&mut media, &store, copies, tally, &phase)?;
        self.rows_into(&mut sink, &wanted).await?;
        let known = sink.finish()?;
        if wanted.local == Rows::All {
            orphans::count(&store, &known, wanted.remote == Rows::All, tally);
        }
        Ok(writer.finish_media(media)?)
    }

    /// Counts what the options leave out.
    async fn wanted(&mut self, tally: &mut Tally) -> Result<Wanted, DatabaseError> {
        let mut wanted = Wanted { local: Rows::All, remote: Rows::All, number: 0 };
        let number = self.count(LOCAL).await?;
        let is_wanted = self.media.files != MediaFiles::None;
        if is_wanted {
            wanted.number = number;
        } else {
            wanted.local = Rows::Quarantined;
            tally.rows.met(LOCAL.table, "", number);
            tally.rows.left_out(LOCAL.table, "not-asked", number);
            tally.leave_out(Kind::Media, number, "all", "not-asked", "`--media none` was given");
        }
        let number = self.count(REMOTE).await?;
        if is_wanted && self.media.remote {
            wanted.number = wanted.number.saturating_add(number);
        } else {
            wanted.remote = Rows::Quarantined;
            let detail = "other servers still have them; `--remote-media` dumps what this one has";
            tally.rows.met(REMOTE.table, "", number);
            tally.rows.left_out(REMOTE.table, "not-asked", number);
            tally.leave_out(Kind::RemoteMedia, number, "all", "not-asked", detail);
        }
        Ok(wanted)
    }

    async fn rows_into(
        &mut self,
        sink: &mut Sink<'_, '_>,
        wanted: &Wanted,
    ) -> Result<(), SourceError> {
        let server = self.config.server_name.clone();
        let sql = record::local_sql(&self.schema, wanted.local);
        let local = |row: Row<'_>| match wanted.local {
            Rows::All => sink.row(Kind::Media, row, local(row, &server)),
            Rows::Quarantined => sink.quarantined(local(row, &server)),
        };
        self.main.each(LOCAL.table, &sql, &[], local).await?;
        let sql = record::remote_sql(&self.schema, wanted.remote);
        let remote = |row: Row<'_>| match wanted.remote {
            Rows::All => sink.row(Kind::RemoteMedia, row, remote(row)),
            Rows::Quarantined => sink.quarantined(remote(row)),
        };
        self.main.each(REMOTE.table, &sql, &[], remote).await?;
        Ok(())
    }

    /// The media store by absolute paths: the import runs elsewhere.
    fn store(&self) -> Result<MediaStore, DatabaseError> {
        let main = &self.config.media_store_path;
        let roots = std::iter::once(main).chain(&self.config.media_providers);
        let absolute = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
        let store = MediaStore::of_synapse(roots.map(absolute).collect());
        if !store.exists() && self.media.files != MediaFiles::None {
            if self.media.files == MediaFiles::Copy {
                return Err(DatabaseError::MediaStoreMissing { path: main.clone() });
            }
            tracing::warn!(
                "the media store `{}` is not here; name it to the import",
                main.display()
            );
        }
        Ok(store)
    }

    /// What Conduit makes anew or does without.
    async fn count_derived(&mut self, tally: &mut Tally) -> Result<(), DatabaseError> {
        let mut thumbnails: u64 = 0;
        for table in ["local_media_repository_thumbnails", "remote_media_cache_thumbnails"] {
            let sql = format!("SELECT COUNT(*) FROM {table}");
            let rows = self.main.rows("thumbnails", &sql, &[]).await?;
            thumbnails = thumbnails.saturating_add(number(&rows));
        }
        let detail = "Conduit makes a thumbnail when somebody asks for it";
        tally.leave_out(Kind::Thumbnail, thumbnails, "all", "made-anew", detail);
        let sql = "SELECT COUNT(*) FROM local_media_repository WHERE url_cache IS NOT NULL";
        let previews = number(&self.main.rows("local_media_repository", sql, &[]).await?);
        let detail = "Synapse fetched them for previews of links and forgets them after a while";
        tally.leave_out(Kind::UrlPreview, previews, "all", "cache", detail);
        Ok(())
    }

    async fn count(&mut self, query: record::Query) -> Result<u64, DatabaseError> {
        let sql = format!("SELECT COUNT(*) {}", query.from);
        Ok(number(&self.main.rows(query.table, &sql, &[]).await?))
    }
}

fn number(rows: &[KeptRow]) -> u64 {
    rows.first().and_then(|row| row.decode::<(u64,)>().ok()).map_or(0, |(number,)| number)
}

#[cfg(test)]
pub(super) mod tests;
