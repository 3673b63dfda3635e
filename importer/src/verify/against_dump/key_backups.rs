//! A user's key backups: all versions, all sessions.

use std::collections::{BTreeMap, BTreeSet};

use ruma::OwnedRoomId;
use serde_json::Value;

use super::{Findings, KvRead, VerifyError, codes, json};
use crate::{
    conduit::schema::{
        shapes::{Backup, BackupSession},
        table::{Shape, Table},
        trees,
    },
    dump::format::{DumpKeyBackup, DumpUser},
    verify::tools::lookup::get,
};

pub(super) fn compare(
    store: &dyn KvRead,
    user: &DumpUser,
    found: &mut Findings,
) -> Result<(), VerifyError> {
    let id = user.user_id.as_str();
    let versions = versions(store, user)?;
    for (version, backup) in &versions {
        let key = Backup { user: id, version };
        let item = format!("key backup {version} of {id}");
        let algorithm = get(store, &trees::BACKUPID_ALGORITHM, &key)?;
        let named = Value::from(backup.algorithm.as_str());
        let auth_data = backup.auth_data.get();
        let expected = format!("{{\"algorithm\":{named},\"auth_data\":{auth_data}}}");
        if algorithm.is_none() {
            found.add(&codes::MISSING_IN_DATABASE, &item, "is missing");
        } else if !json::same(algorithm.as_deref(), &expected) {
            found.add(&codes::DIFFERS_FROM_DUMP, &item, "differs");
        }
        let etag: u64 = backup.etag.parse().unwrap_or_default();
        if get(store, &trees::BACKUPID_ETAG, &key)? != Some(etag.to_be_bytes().to_vec()) {
            found.add(&codes::DIFFERS_FROM_DUMP, &item, "its etag differs");
        }
        sessions(store, id, version, backup, found)?;
    }
    let is_extra = |version: &str| (!versions.contains_key(version)).then(|| version.to_owned());
    let of_backups = |key: &Backup<'_>| is_extra(key.version);
    extra(store, &trees::BACKUPID_ALGORITHM, id, of_backups, found)?;
    extra(store, &trees::BACKUPID_ETAG, id, of_backups, found)?;
    let of_sessions = |key: &BackupSession<'_>| is_extra(key.version);
    extra(store, &trees::BACKUPKEYID_BACKUP, id, of_sessions, found)
}

/// Names the versions of a user that a tree has in addition.
fn extra<K: Shape, V: Shape>(
    store: &dyn KvRead,
    table: &'static Table<K, V>,
    user: &str,
    extra: impl Fn(&K::Row<'_>) -> Option<String>,
    found: &mut Findings,
) -> Result<(), VerifyError> {
    let mut versions = BTreeSet::new();
    for row in store.scan(table.tree(), &[user.as_bytes(), b"\xff"].concat())? {
        let (key, _) = row?;
        versions.extend(table.read_key(&key).ok().and_then(|key| extra(&key)));
    }
    for version in versions {
        let item = format!("key backup {version} of {user}");
        found.add(&codes::NOT_IN_DUMP, item, "is not in the dump");
    }
    Ok(())
}

/// Versions by their names in Conduit: as long as the newest, which keeps its name unless Conduit's next one, the
/// counter, would sort before it.
fn versions<'a>(
    store: &dyn KvRead,
    user: &'a DumpUser,
) -> Result<BTreeMap<String, &'a DumpKeyBackup>, VerifyError> {
    let counter = store.get(&trees::GLOBAL, b"c")?.and_then(|c| c.try_into().ok());
    let next = counter.map(u64::from_be_bytes).unwrap_or_default().to_string();
    let mut numbers: BTreeMap<u64, &DumpKeyBackup> = BTreeMap::new();
    for backup in &user.key_backups {
        if let Ok(number) = backup.version.parse() {
            numbers.entry(number).or_insert(backup);
        }
    }
    let Some(newest) = numbers.keys().next_back().map(ToString::to_string) else {
        return Ok(BTreeMap::new());
    };
    let name = if newest > next { format!("0{newest}") } else { newest };
    let named = |(number, backup): (u64, _)| {
        let mut text = number.to_string();
        while text.len() < name.len() {
            text.insert(0, '0');
        }
        (text, backup)
    };
    Ok(numbers.into_iter().map(named).collect())
}

fn sessions(
    store: &dyn KvRead,
    user: &str,
    version: &str,
    backup: &DumpKeyBackup,
    found: &mut Findings,
) -> Result<(), VerifyError> {
    let item = |room: &str, session: &str| format!("session {session} in {room} of {user}");
    let readable = |room: &str| OwnedRoomId::try_from(room).is_ok();
    for (room, sessions) in backup.rooms.iter().filter(|(room, _)| readable(room)) {
        for (session, data) in sessions {
            let key = BackupSession { user, version, room, session };
            let stored = get(store, &trees::BACKUPKEYID_BACKUP, &key)?;
            if stored.is_none() {
                found.add(
                    &codes::MISSING_IN_DATABASE,
                    item(room, session),
                    "is missing in the key backup",
                );
            } else if !json::same(stored.as_deref(), data.get()) {
                found.add(
                    &codes::DIFFERS_FROM_DUMP,
                    item(room, session),
                    "differs in the key backup",
                );
            }
        }
    }
    let prefix = [user.as_bytes(), b"\xff", version.as_bytes(), b"\xff"].concat();
    for row in store.scan(&trees::BACKUPKEYID_BACKUP, &prefix)? {
        let (key, _) = row?;
        let Ok(fields) = trees::BACKUPKEYID_BACKUP.read_key(&key) else { continue };
        let (room, session) = (fields.room, fields.session);
        let known = readable(room)
            && backup.rooms.get(room).is_some_and(|sessions| sessions.contains_key(session));
        if !known {
            found.add(&codes::NOT_IN_DUMP, item(room, session), "is not in the dump's key backup");
        }
    }
    Ok(())
}
