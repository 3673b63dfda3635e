//! Key backups.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::own::Owner;
use crate::{
    dump::format::DumpKeyBackup,
    synapse::api::{ApiError, error::optional},
    tally::Kind,
};

/// How many versions before the newest are asked for; only deleted ones are missing in between.
const MAX_OLDER: u64 = 1000;

/// Sessions by their ids, by rooms.
type SessionsByRoom = BTreeMap<String, BTreeMap<String, Box<RawValue>>>;

#[derive(Deserialize)]
struct Backup {
    version: String,
    algorithm: String,
    auth_data: Box<RawValue>,
    etag: String,
}

impl Owner<'_> {
    /// All versions that have not been deleted, oldest first.
    pub(super) async fn backups(&mut self) -> Result<Vec<DumpKeyBackup>, ApiError> {
        let Some(newest) = self.version(None).await? else { return Ok(Vec::new()) };
        let number: u64 = newest.version.parse().unwrap_or(0);
        let mut versions = vec![newest];
        for older in (number.saturating_sub(MAX_OLDER).max(1)..number).rev() {
            versions.extend(self.version(Some(&older.to_string())).await?);
        }
        let mut backups = Vec::with_capacity(versions.len());
        for version in versions.into_iter().rev() {
            let rooms = self.sessions(&version.version).await?;
            let sessions = rooms.values().map(BTreeMap::len).sum();
            self.counter.kept(Kind::KeyBackupSession, sessions);
            self.counter.kept(Kind::KeyBackup, 1);
            backups.push(DumpKeyBackup {
                version: version.version,
                algorithm: version.algorithm,
                auth_data: version.auth_data,
                etag: version.etag,
                rooms,
            });
        }
        Ok(backups)
    }

    /// A version, or the newest.
    async fn version(&mut self, version: Option<&str>) -> Result<Option<Backup>, ApiError> {
        let mut path = vec!["room_keys", "version"];
        path.extend(version);
        let result = optional(self.get(&path, &[]).await);
        self.counter.or_lost(Kind::KeyBackup, version.unwrap_or_default(), result)
    }

    async fn sessions(&mut self, version: &str) -> Result<SessionsByRoom, ApiError> {
        #[derive(Default, Deserialize)]
        struct Keys {
            rooms: BTreeMap<String, Sessions>,
        }
        #[derive(Deserialize)]
        struct Sessions {
            sessions: BTreeMap<String, Box<RawValue>>,
        }

        let result = self.get::<Keys>(&["room_keys", "keys"], &[("version", version)]).await;
        let keys = self.counter.or_lost(Kind::KeyBackupSession, version, result)?;
        Ok(keys.rooms.into_iter().map(|(room, sessions)| (room, sessions.sessions)).collect())
    }
}
