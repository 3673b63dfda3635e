//! Rows of Synapse's two tables of media as records of the dump.

use ruma::{OwnedServerName, ServerName};

use super::super::{
    row::{BrokenRow, Known, Row},
    schema::Schema,
};
use crate::{
    dump::format::DumpMedia,
    synapse::media_paths::{local_path, remote_path},
};

/// Where rows come from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Query {
    /// The table, for errors.
    pub(super) table: &'static str,
    /// Table and condition, to which more can be added.
    pub(super) from: &'static str,
}

/// What users of this server uploaded. Images of URL previews are in the same table.
pub(super) const LOCAL: Query = Query {
    table: "local_media_repository",
    from: "FROM local_media_repository WHERE url_cache IS NULL",
};

/// What this server fetched from others.
pub(super) const REMOTE: Query =
    Query { table: "remote_media_cache", from: "FROM remote_media_cache WHERE TRUE" };

/// Why a row gives no record.
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
pub(super) enum Rows {
    All,
    /// Those that must stay withdrawn although their files are left out.
    Quarantined,
}

impl Rows {
    fn condition(self) -> &'static str {
        match self {
            Self::All => "",
            Self::Quarantined => "AND quarantined_by IS NOT NULL",
        }
    }
}

/// Of rows that are there twice, one that keeps its file from everybody is taken.
const TAKEN: &str = "CASE WHEN quarantined_by IS NULL THEN 1 ELSE 0 END";

pub(super) fn local_sql(schema: &Schema, rows: Rows) -> String {
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

pub(super) fn remote_sql(schema: &Schema, rows: Rows) -> String {
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

/// The columns that both tables have.
type Columns = (
    String,
    Known<String>,
    Option<Known<u64>>,
    Known<u64>,
    Known<String>,
    Known<String>,
    Option<Known<String>>,
    Known<u64>,
    bool,
    Known<String>,
);

pub(super) fn local(row: Row<'_>, server: &ServerName) -> Result<DumpMedia, NoRecord> {
    let (media_id, kind, length, created, name, user, quarantined, access, authenticated, sha256) =
        row.decode::<Columns>()?;
    // Synapse makes the row when a client reserves an id, and fills it in on the upload.
    let Some(length) = length else { return Err(NoRecord::NotUploaded) };
    Ok(DumpMedia {
        server: server.to_owned(),
        path: Some(local_path(&media_id).ok_or(NoRecord::Id)?),
        media_id,
        sha256: sha256.0.as_deref().and_then(sha256_hex),
        bytes: length.0,
        content_type: kind.0,
        upload_name: name.0,
        created_ts: created.0.unwrap_or(0),
        last_access_ts: access.0,
        uploader: user.0,
        quarantined_by: quarantined_by(quarantined),
        unauthenticated: !authenticated,
    })
}

pub(super) fn remote(row: Row<'_>) -> Result<DumpMedia, NoRecord> {
    type Remote = (
        String,
        Known<String>,
        Known<u64>,
        Known<u64>,
        Known<String>,
        String,
        Option<Known<String>>,
        Known<u64>,
        bool,
        Known<String>,
        String,
    );
    let (media_id, kind, length, created, name, origin, quarantined, access, auth, sha256, file) =
        row.decode::<Remote>()?;
    let path = remote_path(&origin, &file).ok_or(NoRecord::Id)?;
    Ok(DumpMedia {
        server: OwnedServerName::try_from(origin).map_err(|_no_name| NoRecord::Id)?,
        media_id,
        path: Some(path),
        sha256: sha256.0.as_deref().and_then(sha256_hex),
        bytes: length.0,
        content_type: kind.0,
        upload_name: name.0,
        created_ts: created.0.unwrap_or(0),
        last_access_ts: access.0,
        uploader: None,
        quarantined_by: quarantined_by(quarantined),
        unauthenticated: !auth,
    })
}

/// Media is withdrawn whatever the column says, unless it is NULL.
fn quarantined_by(column: Option<Known<String>>) -> Option<String> {
    column.map(|Known(by)| by.unwrap_or_default())
}

fn sha256_hex(text: &str) -> Option<String> {
    let hash: crate::fs::ContentHash = text.parse().ok()?;
    Some(hash.to_string())
}
