//! Room on the disks: an estimate, from above.

use std::{collections::BTreeMap, os::unix::fs::MetadataExt as _, path::Path};

use super::{Checks, Dump, Target};
use crate::{
    dump::History, findings::codes, partial::nearest, size::size, synapse::survey::Survey,
};

/// Bytes of an event in a dump, its share of indexes included. Most are smaller.
const EVENT: u64 = 2000;
/// Bytes of an account with its devices and keys.
const ACCOUNT: u64 = 20_000;
/// Events of a room that are not its state, of a dump of recent history.
const RECENT: u64 = 100;

pub(super) fn check(checks: &mut Checks, target: &Target, survey: &Survey, history: History) {
    let dump = dump(survey, history);
    let mut needs = vec![
        (target.database.as_path(), database(dump)),
        (target.media.as_path(), survey.media.bytes),
    ];
    if let Dump::New(path) = &target.dump {
        needs.push((path, dump));
    }
    let mut disks: BTreeMap<u64, (u64, &Path)> = BTreeMap::new();
    for (path, bytes) in needs {
        let path = nearest(path);
        let Ok(metadata) = path.metadata() else { continue };
        let (needed, _) = disks.entry(metadata.dev()).or_insert((0, path));
        *needed = needed.saturating_add(bytes);
    }
    for (needed, path) in disks.into_values() {
        let Ok(disk) = rustix::fs::statvfs(path) else { continue };
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        if free < needed {
            let text = format!("{} free, {} needed", size(free), size(needed));
            checks.found(&codes::TARGET_SPACE, path.display().to_string(), text);
        }
    }
}

/// What a dump needs. All of history is hardly more than Synapse's own tables of events.
fn dump(survey: &Survey, history: History) -> u64 {
    let rooms = u64::try_from(survey.rooms.len()).unwrap_or(u64::MAX);
    let accounts = u64::try_from(survey.accounts.len()).unwrap_or(u64::MAX);
    let Some(database) = &survey.database else {
        let events = rooms.saturating_mul(RECENT);
        return events.saturating_mul(EVENT).saturating_add(accounts.saturating_mul(ACCOUNT));
    };
    // State comes with its auth chain.
    let events =
        database.state_entries.saturating_mul(2).saturating_add(rooms.saturating_mul(RECENT));
    let recent = events.saturating_mul(EVENT).saturating_add(accounts.saturating_mul(ACCOUNT));
    match history {
        History::Recent => recent.min(database.bytes),
        History::Full => database.bytes,
    }
}

/// What Conduit's database needs: the dump's content with indexes, and room to rewrite a part of it.
fn database(dump: u64) -> u64 {
    dump.saturating_add(dump / 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synapse::survey::{Account, Database, Media, Room};

    #[test]
    fn the_estimate_goes_by_what_will_be_read() {
        let mut survey = Survey {
            accounts: vec![Account::default(); 3],
            rooms: vec![Room::default(); 2],
            media: Media { files: 1, bytes: 7, ..Media::default() },
            ..Survey::default()
        };
        assert_eq!(dump(&survey, History::Full), 460_000);
        survey.database = Some(Database {
            bytes: 1_000_000,
            pending_updates: Vec::new(),
            locale: None,
            other_sessions: 0,
            state_entries: 50,
        });
        assert_eq!(dump(&survey, History::Recent), 660_000);
        assert_eq!(dump(&survey, History::Full), 1_000_000);
        assert_eq!(database(660_000), 990_000);
    }
}
