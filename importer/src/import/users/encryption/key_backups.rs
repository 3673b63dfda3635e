//! Key backups, all versions.
//!
//! Conduit takes the version that is last in the order of *text* for the newest, and counts the sessions of all versions
//! that begin with the same text (src/database/key_value/key_backups.rs:76-126, 174-180). So all versions of a user get
//! the length of the newest by zeros in front: the newest keeps its name, with which clients go on; 9 beside 10 becomes
//! 09. New versions take their name from the counter, which begins with 9: a newest version that would come after that,
//! such as 95, gets a zero as well, and clients find it as a new version.

use std::collections::BTreeMap;

use ruma::RoomId;
use serde_json::json;

use super::Refusal;
use crate::{
    conduit::schema::{layout::Part, trees},
    dump::format::DumpKeyBackup,
    import::{Import, ImportError, row_writer},
    tally::Kind,
};

impl Import<'_> {
    pub(super) fn key_backups(
        &mut self,
        id: &str,
        backups: Vec<DumpKeyBackup>,
    ) -> Result<(), ImportError> {
        let mut versions = BTreeMap::new();
        for backup in backups {
            let refused = match backup.version.parse::<u64>() {
                Err(_) => Some(("version-not-a-number", "Synapse's versions are numbers")),
                Ok(version) if versions.contains_key(&version) => {
                    Some(("version-twice", "the dump has the version already"))
                }
                Ok(_) => None,
            };
            let item = || format!("version {} of {id}", backup.version);
            if self.keeps(Kind::KeyBackup, item, refused) {
                versions.extend(backup.version.parse::<u64>().ok().map(|number| (number, backup)));
            } else {
                self.sessions_left_out(id, &backup);
            }
        }
        let newest = versions.keys().next_back().map(u64::to_string).unwrap_or_default();
        let length =
            newest.len().saturating_add(usize::from(newest > row_writer::START.to_string()));
        for (version, backup) in versions {
            self.key_backup(id, &format!("{version:0length$}"), backup)?;
        }
        Ok(())
    }

    fn key_backup(
        &mut self,
        user: &str,
        version: &str,
        backup: DumpKeyBackup,
    ) -> Result<(), ImportError> {
        let id: [Part<'_>; 2] = [user.into(), version.into()];
        let algorithm = format!(
            "{{\"algorithm\":{},\"auth_data\":{}}}",
            json!(backup.algorithm),
            backup.auth_data.get()
        );
        self.rows.put(&trees::BACKUPID_ALGORITHM, &id, &[algorithm.as_str().into()])?;
        // Clients only see whether it changes.
        let etag = backup.etag.parse::<u64>().unwrap_or(0);
        self.rows.put(&trees::BACKUPID_ETAG, &id, &[etag.into()])?;
        for (room, sessions) in backup.rooms {
            let refused = unfit_room(&room);
            for (session, key) in sessions {
                let item = || format!("{session} in {room} of version {version} of {user}");
                if self.keeps(Kind::KeyBackupSession, item, refused) {
                    let key_id = [id[0], id[1], room.as_str().into(), session.as_str().into()];
                    self.rows.put(&trees::BACKUPKEYID_BACKUP, &key_id, &[key.get().into()])?;
                }
            }
        }
        Ok(())
    }

    fn sessions_left_out(&mut self, user: &str, backup: &DumpKeyBackup) {
        let version = &backup.version;
        for (room, sessions) in &backup.rooms {
            for session in sessions.keys() {
                let item = || format!("{session} in {room} of version {version} of {user}");
                let refused = Some(("backup-left-out", "its backup is not in Conduit"));
                self.keeps(Kind::KeyBackupSession, item, refused);
            }
        }
    }
}

/// A session under what is no room id fails the restore of the whole backup
/// (src/database/key_value/key_backups.rs:197-245).
fn unfit_room(room: &str) -> Option<Refusal> {
    RoomId::parse(room).is_err().then_some(("room-id-invalid", "its room's id is none"))
}
