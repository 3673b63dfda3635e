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

use crate::{
    conduit::schema::{
        shapes::{Algorithm, AsSent, Backup, BackupSession, Count},
        trees,
    },
    dump::format::DumpKeyBackup,
    import::{
        ImportError,
        row_writer::{self, Rows},
        skip::SkipReason,
    },
    tally::{Kind, Tally},
};

/// Writes the key backups of the user with this id.
pub(super) fn write(
    id: &str,
    backups: Vec<DumpKeyBackup>,
    rows: &mut Rows<'_>,
    tally: &mut Tally,
) -> Result<(), ImportError> {
    let mut versions = BTreeMap::new();
    for backup in backups {
        let number = backup.version.parse::<u64>().ok();
        let reason = match number {
            None => Some(("version-not-a-number", "Synapse's versions are numbers")),
            Some(number) => versions
                .contains_key(&number)
                .then_some(("version-twice", "the dump has the version already")),
        };
        let reason = reason.map(|(code, detail)| SkipReason::new(code, detail));
        let item = || format!("version {} of {id}", backup.version);
        if tally.keeps(Kind::KeyBackup, item, reason) {
            versions.extend(number.map(|number| (number, backup)));
        } else {
            sessions_left_out(id, &backup, tally);
        }
    }
    let newest = versions.keys().next_back().map(u64::to_string).unwrap_or_default();
    let length = newest.len() + usize::from(newest > row_writer::START.to_string());
    for (version, backup) in versions {
        write_version(id, &format!("{version:0length$}"), backup, rows, tally)?;
    }
    Ok(())
}

fn write_version(
    user: &str,
    version: &str,
    backup: DumpKeyBackup,
    rows: &mut Rows<'_>,
    tally: &mut Tally,
) -> Result<(), ImportError> {
    let id = Backup { user, version };
    let algorithm = format!(
        "{{\"algorithm\":{},\"auth_data\":{}}}",
        json!(backup.algorithm),
        backup.auth_data.get()
    );
    rows.put(&trees::BACKUPID_ALGORITHM, &id, &Algorithm { json: &algorithm })?;
    // Clients only see whether it changes.
    let count = backup.etag.parse().unwrap_or(0);
    rows.put(&trees::BACKUPID_ETAG, &id, &Count { count })?;
    for (room, sessions) in backup.rooms {
        let reason = unfit_room(&room);
        for (session, key) in sessions {
            let item = || format!("{session} in {room} of version {version} of {user}");
            if tally.keeps(Kind::KeyBackupSession, item, reason.clone()) {
                let key_id = BackupSession { user, version, room: &room, session: &session };
                rows.put(&trees::BACKUPKEYID_BACKUP, &key_id, &AsSent { json: key.get() })?;
            }
        }
    }
    Ok(())
}

fn sessions_left_out(user: &str, backup: &DumpKeyBackup, tally: &mut Tally) {
    let version = &backup.version;
    let reason = SkipReason::new("backup-left-out", "its backup is not in Conduit");
    for (room, sessions) in &backup.rooms {
        for session in sessions.keys() {
            let item = || format!("{session} in {room} of version {version} of {user}");
            tally.keeps(Kind::KeyBackupSession, item, Some(reason.clone()));
        }
    }
}

/// Why the sessions of a room are left out: one under what is no room id fails the restore of the whole backup
/// (src/database/key_value/key_backups.rs:197-245).
fn unfit_room(room: &str) -> Option<SkipReason> {
    let reason = SkipReason::new("room-id-invalid", "its room's id is none");
    RoomId::parse(room).is_err().then_some(reason)
}
