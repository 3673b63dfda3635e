//! Media: the rows that describe files, and the files of Synapse's media store.
//!
//! Thumbnails are left out: Conduit makes its own when somebody asks. So are images of URL previews.

mod orphans;
mod record;
mod sink;

use std::path::PathBuf;

use self::{
    orphans::Known,
    record::{LOCAL, REMOTE, local, remote},
    sink::Sink,
};
use super::{DatabaseError, DatabaseSource, MediaFiles, SourceError, row::Row};
use crate::{
    dump::{DumpWriter, format::DumpMediaHead},
    media::{ContentDirectory, Layout, Store},
    progress::Progress,
    tally::{Kind, Tally},
};

impl DatabaseSource {
    pub(super) async fn read_media(
        &mut self,
        writer: &mut DumpWriter,
        tally: &mut Tally,
        progress: &Progress,
    ) -> Result<(), SourceError> {
        self.count_derived(tally).await?;
        let number = self.count(LOCAL).await?;
        let number_remote = self.count(REMOTE).await?;
        let is_wanted = self.media.files != MediaFiles::None;
        let remote_is_wanted = is_wanted && self.media.remote;
        if !is_wanted {
            tally.leave_out(Kind::Media, number, "all", "not-asked", "`--media none` was given");
        }
        if !remote_is_wanted {
            let detail = "other servers still have them; `--remote-media` dumps what this one has";
            tally.leave_out(Kind::RemoteMedia, number_remote, "all", "not-asked", detail);
        }
        if !is_wanted {
            return Ok(());
        }
        let store = self.store()?;
        let refers = self.media.files == MediaFiles::Refer;
        let stores = store.roots().iter().map(|root| root.display().to_string());
        let head = DumpMediaHead { stores: stores.filter(|_| refers).collect() };
        let copies = ContentDirectory::new(writer.media_directory(), Layout::default());
        let copies = (!refers).then_some(copies);
        let mut media = writer.media(&head)?;
        let total = number.saturating_add(if remote_is_wanted { number_remote } else { 0 });
        let phase = progress.phase("media", usize::try_from(total).unwrap_or(usize::MAX));
        let mut sink = Sink::new(&mut media, &store, copies, tally, &phase)?;
        self.rows_into(&mut sink, remote_is_wanted).await?;
        let known = sink.finish()?;
        orphans::count(&store, &known, remote_is_wanted, tally);
        Ok(writer.finish_media(media)?)
    }

    async fn rows_into(
        &mut self,
        sink: &mut Sink<'_, '_>,
        with_remote: bool,
    ) -> Result<(), SourceError> {
        let server = self.config.server_name.clone();
        let sql = record::local_sql(&self.schema);
        let local = |row: Row| sink.row(Kind::Media, &row, |row| local(row, &server));
        self.main.each(LOCAL.table, &sql, &[], local).await?;
        if with_remote {
            let sql = record::remote_sql(&self.schema);
            let remote = |row: Row| sink.row(Kind::RemoteMedia, &row, remote);
            self.main.each(REMOTE.table, &sql, &[], remote).await?;
        }
        Ok(())
    }

    /// The media store by absolute paths: the import runs elsewhere.
    fn store(&self) -> Result<Store, DatabaseError> {
        let main = &self.config.media_store_path;
        let roots = std::iter::once(main).chain(&self.config.media_providers);
        let absolute = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
        let store = Store::of_synapse(roots.map(absolute).collect());
        if !store.exists() {
            if self.media.files == MediaFiles::Copy {
                return Err(DatabaseError::MediaStoreMissing { path: main.clone() });
            }
            tracing::warn!("the media store `{}` is not here; name it to the import", main.display());
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

fn number(rows: &[Row]) -> u64 {
    let number = rows.first().and_then(|row| row.integer(0));
    number.and_then(|number| u64::try_from(number).ok()).unwrap_or(0)
}
