//! Rows of Synapse's two tables of media as records of the dump.

use ruma::{OwnedServerName, ServerName};

use super::super::{
    row::{BrokenRow, Known, Row, row},
    schema::Schema,
};
use crate::{
    dump::format::DumpMedia,
    synapse::media_paths::{local_path, remote_path},
};

/// Where rows come from.
#[derive(Clone, Copy, Debug)]
pub(super) struct MediaTable {
    /// The table, for errors.
    pub(super) table: &'static str,
    /// Table and condition, to which more can be added.
    pub(super) from: &'static str,
}

/// What users of this server uploaded. Images of URL previews are in the same table.
pub(super) const LOCAL: MediaTable = MediaTable {
    table: "local_media_repository",
    from: "FROM local_media_repository WHERE url_cache IS NULL",
};

/// What this server fetched from others.
pub(super) const REMOTE: MediaTable =
    MediaTable { table: "remote_media_cache", from: "FROM remote_media_cache WHERE TRUE" };

/// Why a row is no record of the dump.
pub(super) enum NoRecord {
    Broken(BrokenRow),
    NotUploaded,
    Id,
}

impl From<BrokenRow> for NoRecord {
    fn from(broken: BrokenRow) -> Self {
        Self::Broken(broken)
    }
}

/// Which rows are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WantedRows {
    All,
    /// Those that must stay withdrawn although their files are left out.
    Quarantined,
}

impl WantedRows {
    fn condition(self) -> &'static str {
        match self {
            Self::All => "",
            Self::Quarantined => "AND quarantined_by IS NOT NULL",
        }
    }
}

/// Sorts doubled rows: one that is quarantined comes first, and is taken.
const TAKEN: &str = "CASE WHEN quarantined_by IS NULL THEN 1 ELSE 0 END";

pub(super) fn local_sql(schema: &Schema, rows: WantedRows) -> String {
    let column = |name, default| schema.column(LOCAL.table, name, default);
    format!(
        "SELECT media_id, media_type, media_length, created_ts, upload_name, user_id, quarantined_by, \
         last_access_ts, {}, {} {} {} ORDER BY media_id, {TAKEN}",
        column("authenticated", "NULL"),
        column("sha256", "NULL"),
        LOCAL.from,
        rows.condition()
    )
}

pub(super) fn remote_sql(schema: &Schema, rows: WantedRows) -> String {
    let column = |name, default| schema.column(REMOTE.table, name, default);
    format!(
        "SELECT media_id, media_type, media_length, created_ts, upload_name, media_origin, quarantined_by, \
         last_access_ts, {}, {}, filesystem_id {} {} ORDER BY media_origin, media_id, {TAKEN}",
        column("authenticated", "NULL"),
        column("sha256", "NULL"),
        REMOTE.from,
        rows.condition()
    )
}

row! {
    /// A row of `local_media_repository`.
    struct LocalMediaRow {
        media_id: String,
        /// `media_type`.
        content_type: Known<String>,
        /// `media_length`. NULL: a client reserved the id and has uploaded nothing.
        bytes: Option<Known<u64>>,
        created_ts: Known<u64>,
        upload_name: Known<String>,
        /// `user_id`.
        uploader: Known<String>,
        quarantined_by: Option<Known<String>>,
        last_access_ts: Known<u64>,
        authenticated: bool,
        sha256: Known<String>,
    }
}

row! {
    /// A row of `remote_media_cache`.
    struct RemoteMediaRow {
        media_id: String,
        /// `media_type`.
        content_type: Known<String>,
        /// `media_length`.
        bytes: Known<u64>,
        created_ts: Known<u64>,
        upload_name: Known<String>,
        /// `media_origin`.
        server: String,
        quarantined_by: Option<Known<String>>,
        last_access_ts: Known<u64>,
        authenticated: bool,
        sha256: Known<String>,
        /// The name of the file.
        filesystem_id: String,
    }
}

/// The record of a row of [`local_sql`].
pub(super) fn local(row: Row<'_>, server: &ServerName) -> Result<DumpMedia, NoRecord> {
    let row: LocalMediaRow = row.decode()?;
    let Some(Known(bytes)) = row.bytes else { return Err(NoRecord::NotUploaded) };
    Ok(DumpMedia {
        server: server.to_owned(),
        path: Some(local_path(&row.media_id).ok_or(NoRecord::Id)?),
        media_id: row.media_id,
        sha256: row.sha256.0.as_deref().and_then(sha256_hex),
        bytes,
        content_type: row.content_type.0,
        upload_name: row.upload_name.0,
        created_ts: row.created_ts.0.unwrap_or(0),
        last_access_ts: row.last_access_ts.0,
        uploader: row.uploader.0,
        quarantined_by: quarantined_by(row.quarantined_by),
        unauthenticated: !row.authenticated,
    })
}

/// The record of a row of [`remote_sql`].
pub(super) fn remote(row: Row<'_>) -> Result<DumpMedia, NoRecord> {
    let row: RemoteMediaRow = row.decode()?;
    let path = remote_path(&row.server, &row.filesystem_id).ok_or(NoRecord::Id)?;
    Ok(DumpMedia {
        server: OwnedServerName::try_from(row.server).map_err(|_no_name| NoRecord::Id)?,
        media_id: row.media_id,
        path: Some(path),
        sha256: row.sha256.0.as_deref().and_then(sha256_hex),
        bytes: row.bytes.0,
        content_type: row.content_type.0,
        upload_name: row.upload_name.0,
        created_ts: row.created_ts.0.unwrap_or(0),
        last_access_ts: row.last_access_ts.0,
        uploader: None,
        quarantined_by: quarantined_by(row.quarantined_by),
        unauthenticated: !row.authenticated,
    })
}

/// Media is quarantined unless the column is NULL, whatever else it holds.
fn quarantined_by(column: Option<Known<String>>) -> Option<String> {
    column.map(|Known(by)| by.unwrap_or_default())
}

fn sha256_hex(text: &str) -> Option<String> {
    let hash: crate::fs::ContentHash = text.parse().ok()?;
    Some(hash.to_string())
}
