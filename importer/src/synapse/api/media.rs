//! Media: what each user uploaded, with the files.
//!
//! The APIs list neither uploads of deleted accounts nor files of other servers, except those that are quarantined (Synapse 1.151
//! and later).

use std::collections::BTreeMap;

use futures_util::{StreamExt as _, stream};
use ruma::{OwnedServerName, OwnedUserId, ServerName};
use serde::Deserialize;

use super::{
    ApiError,
    connection::{As, Connection, Get, flag},
};
use crate::{
    dump::{
        DumpWriter, MediaFiles, MediaWriter, NotUsable, WriteError,
        format::{DumpMedia, DumpMediaHead},
    },
    fs::{ContentDirectory, ContentHash, Layout},
    progress::Progress,
    source::SourceError,
    tally::{Kind, Tally},
};

/// Files that are fetched at a time.
const PARALLEL: usize = 4;
/// How often a file is fetched whose body breaks off.
const TRIES: u32 = 3;

#[derive(Deserialize)]
struct UploadsPage {
    media: Vec<ListedMedia>,
    next_token: Option<u64>,
}

/// A file as the admin API lists it.
#[derive(Deserialize)]
struct ListedMedia {
    media_id: String,
    media_type: Option<String>,
    media_length: Option<u64>,
    upload_name: Option<String>,
    created_ts: Option<u64>,
    last_access_ts: Option<u64>,
    quarantined_by: Option<String>,
    #[serde(default, deserialize_with = "flag")]
    authenticated: bool,
    #[serde(default)]
    sha256: Option<String>,
    #[serde(default)]
    url_cache: Option<String>,
}

/// What a file became.
enum Fetched {
    File(ContentHash),
    Not { reason: &'static str, detail: String },
    Failed(SourceError),
}

/// Reads media.
#[derive(Clone, Copy)]
pub(super) struct MediaReader<'a> {
    pub(super) api: &'a Connection,
    pub(super) server_name: &'a ServerName,
    /// Whether the files are copied into the dump, or left out.
    pub(super) files: MediaFiles,
}

impl MediaReader<'_> {
    /// Writes what `users` uploaded and what is quarantined.
    pub(super) async fn write(
        &self,
        users: &[OwnedUserId],
        writer: &DumpWriter,
        tally: &mut Tally,
        progress: &Progress,
    ) -> Result<(), SourceError> {
        let directory = ContentDirectory::new(writer.media_directory(), Layout::default());
        let copies = (self.files != MediaFiles::None).then_some(&directory);
        if let Some(copies) = copies {
            copies.create().map_err(WriteError::from)?;
        }
        let mut media = writer.media(&DumpMediaHead::default())?;
        let phase = progress.phase_of(["account's files", "accounts' files"], users.len());
        for user in users {
            self.uploads(user, copies, &mut media, tally).await?;
            phase.advance(1);
        }
        drop(phase);
        match self.quarantined().await {
            Ok(ids) => {
                for (server, media_id) in ids {
                    quarantined(&mut media, server, media_id, tally)?;
                }
            }
            Err(error) if error.ends_run() => return Err(error.into()),
            Err(error) => {
                let item = "files of other servers";
                tally.leave_out(Kind::Quarantine, 1, item, "not-given", error.to_string());
            }
        }
        if let Some(copies) = copies {
            copies.sync().map_err(WriteError::from)?;
        }
        Ok(writer.finish_media(media)?)
    }

    async fn uploads(
        &self,
        user: &OwnedUserId,
        copies: Option<&ContentDirectory>,
        media: &mut MediaWriter,
        tally: &mut Tally,
    ) -> Result<(), SourceError> {
        let path = ["v1", "users", user.as_str(), "media"];
        let mut from = 0;
        loop {
            let from_text = from.to_string();
            let query =
                [("limit", "500"), ("order_by", "media_id"), ("dir", "f"), ("from", &from_text)];
            let page: UploadsPage = match self.api.admin(&path, &query).await {
                Ok(page) => page,
                Err(error) if error.ends_run() => return Err(error.into()),
                Err(error) => {
                    let item = format!("of {user}");
                    tally.leave_out(Kind::Media, 1, item, "not-given", error.to_string());
                    return Ok(());
                }
            };
            self.page(user, page.media, copies, media, tally).await?;
            match page.next_token {
                Some(next) if next > from => from = next,
                _ => return Ok(()),
            }
        }
    }

    async fn page(
        &self,
        user: &OwnedUserId,
        uploads: Vec<ListedMedia>,
        copies: Option<&ContentDirectory>,
        media: &mut MediaWriter,
        tally: &mut Tally,
    ) -> Result<(), SourceError> {
        let fetch = |upload: ListedMedia| async move {
            let record = self.record(user, &upload);
            let fetched = match copies {
                _ if upload.media_length.is_none() => Fetched::Not {
                    reason: "not-uploaded",
                    detail: "a client reserved the id and uploaded nothing".into(),
                },
                Some(copies) if upload.url_cache.is_none() => {
                    fetch(self.api, &record, copies).await
                }
                _ => {
                    Fetched::Not { reason: "not-asked", detail: "`--media none` was given".into() }
                }
            };
            (record, upload.url_cache.is_some(), fetched)
        };
        let mut fetched = stream::iter(uploads).map(fetch).buffered(PARALLEL);
        while let Some((mut record, is_preview, fetched)) = fetched.next().await {
            if is_preview {
                let detail = "Synapse fetched it for the preview of a link";
                tally.leave_out(Kind::UrlPreview, 1, record.uri(), "cache", detail);
                continue;
            }
            tally.read(Kind::Media, 1);
            match fetched {
                Fetched::File(hash) => {
                    record.path = Some(Layout::default().path(&hash).display().to_string());
                    record.sha256 = Some(hash.to_string());
                    tally.written(Kind::Media, 1);
                }
                Fetched::Not { reason, detail } => {
                    tally.skip(Kind::Media, record.uri(), reason, detail);
                }
                Fetched::Failed(error) => return Err(error),
            }
            if record.quarantined_by.is_some() {
                tally.read(Kind::Quarantine, 1);
                tally.written(Kind::Quarantine, 1);
            } else if record.path.is_none() {
                continue;
            }
            media.record(&record)?;
        }
        Ok(())
    }

    fn record(&self, user: &OwnedUserId, upload: &ListedMedia) -> DumpMedia {
        let noted: Option<ContentHash> =
            upload.sha256.as_deref().and_then(|hash| hash.parse().ok());
        DumpMedia {
            server: self.server_name.to_owned(),
            media_id: upload.media_id.clone(),
            path: None,
            sha256: noted.map(|hash| hash.to_string()),
            bytes: upload.media_length,
            content_type: upload.media_type.clone(),
            upload_name: upload.upload_name.clone(),
            created_ts: upload.created_ts.unwrap_or(0),
            last_access_ts: upload.last_access_ts,
            uploader: Some(user.to_string()),
            quarantined_by: upload.quarantined_by.clone(),
            // A Synapse that does not say so is older than the distinction, and gave everything to everybody.
            unauthenticated: !upload.authenticated,
        }
    }

    /// Quarantined files of other servers.
    async fn quarantined(&self) -> Result<Vec<(OwnedServerName, String)>, ApiError> {
        #[derive(Deserialize)]
        struct Changes {
            changes: Vec<Change>,
            next_batch: u64,
        }
        #[derive(Deserialize)]
        struct Change {
            origin: OwnedServerName,
            media_id: String,
            #[serde(deserialize_with = "flag")]
            quarantined: bool,
        }

        let mut last = BTreeMap::new();
        let mut from = 0;
        loop {
            let query = [("from", &*from.to_string())];
            let path = ["v1", "media", "quarantine_changes"];
            let Changes { changes, next_batch } = self.api.admin(&path, &query).await?;
            let is_last = changes.is_empty() || next_batch <= from;
            for change in changes {
                last.insert((change.origin, change.media_id), change.quarantined);
            }
            if is_last {
                break;
            }
            from = next_batch;
        }
        let is_foreign = |server: &OwnedServerName| *server != *self.server_name;
        let all = last.into_iter();
        Ok(all.filter(|((server, _), is)| *is && is_foreign(server)).map(|(id, _)| id).collect())
    }
}

/// A record without a file, so that it stays quarantined.
fn quarantined(
    media: &mut MediaWriter,
    server: OwnedServerName,
    media_id: String,
    tally: &mut Tally,
) -> Result<(), WriteError> {
    tally.read(Kind::Quarantine, 1);
    tally.written(Kind::Quarantine, 1);
    media.record(&DumpMedia {
        server,
        media_id,
        path: None,
        sha256: None,
        bytes: None,
        content_type: None,
        upload_name: None,
        created_ts: 0,
        last_access_ts: None,
        uploader: None,
        quarantined_by: Some("an administrator".into()),
        unauthenticated: false,
    })
}

/// Fetches a file, again if the connection breaks.
async fn fetch(api: &Connection, record: &DumpMedia, copies: &ContentDirectory) -> Fetched {
    let mut detail = String::new();
    for _ in 0..TRIES {
        match fetch_once(api, record, copies).await {
            Ok(Some(fetched)) => return fetched,
            Ok(None) => detail = "the connection broke off each time".into(),
            Err(error) if error.ends_run() => return Fetched::Failed(error.into()),
            Err(error) => return Fetched::Not { reason: "not-given", detail: error.to_string() },
        }
    }
    Fetched::Not { reason: "not-given", detail }
}

/// `None` if the body ended early.
async fn fetch_once(
    api: &Connection,
    record: &DumpMedia,
    copies: &ContentDirectory,
) -> Result<Option<Fetched>, ApiError> {
    let path = ["download", record.server.as_str(), &record.media_id];
    let quarantine = [("admin_unsafely_bypass_quarantine", "true")];
    let query = if record.quarantined_by.is_some() { &quarantine[..] } else { &[] };
    let api_path = ["_matrix", "client", "v1", "media"];
    let mut response =
        api.open(Get { token: As::Admin, api: &api_path, path: &path, query }).await?;
    let failed = |error| Ok(Some(Fetched::Failed(WriteError::from(error).into())));
    let mut file = match copies.begin() {
        Ok(file) => file,
        Err(error) => return failed(error),
    };
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => {
                if let Err(error) = file.write(&chunk) {
                    return failed(error);
                }
            }
            Ok(None) => break,
            Err(_) => return Ok(None),
        }
    }
    let noted = record.sha256.as_deref().and_then(|hash| hash.parse().ok());
    match file.keep(noted) {
        Ok((hash, _)) => Ok(Some(Fetched::File(hash))),
        Err(error) => match NotUsable::of(error, &record.media_id) {
            Ok(unusable) => {
                Ok(Some(Fetched::Not { reason: unusable.reason(), detail: unusable.to_string() }))
            }
            Err(error) => failed(error),
        },
    }
}
