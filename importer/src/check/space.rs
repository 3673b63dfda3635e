//! What a migration needs: time, and room on the disks. Estimates, from above.

#![warn(clippy::arithmetic_side_effects, reason = "a homeserver may say any numbers")]

use std::{
    collections::BTreeMap,
    fmt,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::{Checks, Dump, Target};
use crate::{
    counted::count, dump::History, findings::codes, fs::atomic_dir::nearest, size::size,
    source::survey::Survey,
};

/// Microseconds that an event takes to be dumped, imported and verified, on two cores, with its share of everything else: the most
/// that was measured from 10⁵ events on, which was 173 with 10⁷ of them (docs/performance.md).
const EVENT_MICROS: u64 = 180;
/// What the smallest server takes.
const LEAST_SECONDS: u64 = 2;
/// From so many seconds on, it is worth while to copy media files beforehand.
const LONG_SECONDS: u64 = 60;

/// How much there is to move, and what that needs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// Local accounts.
    pub accounts: usize,
    /// Rooms.
    pub rooms: usize,
    /// Rows of Synapse's `events`; only a database can tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events: Option<u64>,
    /// Media files of Synapse's own.
    pub files: u64,
    /// Bytes of these.
    pub file_bytes: u64,
    /// Bytes of these that were copied beforehand.
    pub prepared_bytes: u64,
    /// Seconds for everything but the files, from a database, with all of history.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
    /// Seconds to copy the files that were not copied beforehand, as measured on some of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub media_seconds: Option<u64>,
    /// The disks that will be written.
    pub disks: Vec<Disk>,
}

/// A disk that will be written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Disk {
    /// The nearest directory that is there.
    pub path: PathBuf,
    /// Bytes that will be needed.
    pub needed: u64,
    /// Bytes that are free.
    pub free: u64,
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", count(self.accounts, "account"), count(self.rooms, "room"))?;
        if let Some(events) = self.events {
            write!(f, ", {}", count(events, "event"))?;
        }
        write!(f, ", {} ({}", count(self.files, "media file"), size(self.file_bytes))?;
        if self.prepared_bytes > 0 {
            write!(f, ", of which {} are copied already", size(self.prepared_bytes))?;
        }
        writeln!(f, ")")?;
        let copying = match self.media_seconds {
            Some(seconds) => format!("about {} to copy the media files", time(seconds)),
            None => "the time to copy the media files".to_owned(),
        };
        match (self.seconds, self.media_seconds) {
            (Some(seconds), _) => {
                writeln!(f, "about {} to dump, import and verify, and {copying}", time(seconds))?;
            }
            (None, Some(_)) => writeln!(f, "{copying}")?,
            (None, None) => {}
        }
        if self.media_seconds.is_some_and(|seconds| seconds > LONG_SECONDS) {
            writeln!(f, "`importer media` copies them beforehand, while Synapse runs")?;
        }
        for disk in &self.disks {
            let (needed, free) = (size(disk.needed), size(disk.free));
            writeln!(f, "{}: {needed} needed at most, {free} free", disk.path.display())?;
        }
        Ok(())
    }
}

/// A time that is an estimate.
fn time(seconds: u64) -> String {
    match seconds {
        0..100 => count(seconds, "second"),
        _ => count(seconds.div_ceil(60), "minute"),
    }
}

/// Bytes of an event in a dump, its share of indexes included. Most are smaller.
const EVENT: u64 = 2000;
/// Bytes of an account with its devices and keys.
const ACCOUNT: u64 = 20_000;
/// Events of a room that are not its state, of a dump of recent history.
const RECENT: u64 = 100;

/// How much there is to move. The disks are known by [`Checks::target`], what was copied beforehand by
/// [`Checks::prepared_media`], the time to copy the rest by [`super::copying_seconds`].
pub fn plan(survey: &Survey, history: History) -> Plan {
    let rows = |census: &crate::dump::census::Census| {
        census.tables.iter().find(|table| table.table == "events").and_then(|table| table.rows)
    };
    let events = survey.census.as_ref().and_then(rows);
    let seconds = events
        .filter(|_| history == History::Full)
        .map(|events| events.saturating_mul(EVENT_MICROS).div_ceil(1_000_000).max(LEAST_SECONDS));
    Plan {
        accounts: survey.accounts.len(),
        rooms: survey.rooms.len(),
        events,
        files: survey.media.files,
        file_bytes: survey.media.bytes,
        prepared_bytes: 0,
        seconds,
        media_seconds: None,
        disks: Vec::new(),
    }
}

pub(super) fn check(
    checks: &mut Checks,
    target: &Target,
    survey: &Survey,
    history: History,
) -> Vec<Disk> {
    let dump = dump(survey, history);
    let mut needs = vec![
        (target.database.as_path(), database(dump)),
        (target.media.as_path(), survey.media.bytes.saturating_sub(checks.prepared_bytes)),
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
    let mut found = Vec::new();
    for (needed, path) in disks.into_values() {
        let Ok(disk) = rustix::fs::statvfs(path) else { continue };
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        if free < needed {
            let text = format!("{} free, {} needed", size(free), size(needed));
            checks.found(&codes::TARGET_SPACE, path.display().to_string(), text);
        }
        found.push(Disk { path: path.to_owned(), needed, free });
    }
    found
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
    use crate::source::survey::{AccountFacts, DatabaseFacts, MediaFacts, RoomFacts};

    #[test]
    fn the_estimate_goes_by_what_will_be_read() {
        let mut survey = Survey {
            accounts: vec![AccountFacts::default(); 3],
            rooms: vec![RoomFacts::default(); 2],
            media: MediaFacts { files: 1, bytes: 7, ..MediaFacts::default() },
            ..Survey::default()
        };
        assert_eq!(dump(&survey, History::Full), 460_000);
        survey.database = Some(DatabaseFacts {
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

    #[test]
    fn the_plan_says_how_much_there_is_and_what_it_needs() {
        let census = |rows: u64| {
            let table = serde_json::json!({"table": "events", "fate": "moves", "rows": rows});
            serde_json::from_value(serde_json::json!({"tables": [table]})).unwrap()
        };
        let mut survey = Survey {
            accounts: vec![AccountFacts::default(); 30],
            rooms: vec![RoomFacts::default(); 1],
            media: MediaFacts { files: 2, bytes: 3_000_000_000, ..MediaFacts::default() },
            census: Some(census(10)),
            ..Survey::default()
        };
        let mut small = plan(&survey, History::Full);
        small.disks.push(Disk {
            path: "/var/lib".into(),
            needed: 5_000_000_000,
            free: 14_000_000_000,
        });
        assert_eq!(
            small.to_string(),
            "30 accounts, 1 room, 10 events, 2 media files (3.0 GB)\n\
             about 2 seconds to dump, import and verify, and the time to copy the media files\n\
             /var/lib: 5.0 GB needed at most, 14.0 GB free\n"
        );
        small.media_seconds = Some(61);
        assert!(small.to_string().contains(
            ", and about 61 seconds to copy the media files\n\
             `importer media` copies them beforehand, while Synapse runs\n"
        ));
        (small.prepared_bytes, small.media_seconds) = (2_000_000_000, Some(60));
        let text = small.to_string();
        assert!(text.contains("(3.0 GB, of which 2.0 GB are copied already)\n"), "{text}");
        assert!(!text.contains("`importer media`"), "{text}");
        small.seconds = None;
        let text = small.to_string();
        assert!(text.contains(")\nabout 60 seconds to copy the media files\n"), "{text}");
        survey.census = Some(census(1_000_000));
        assert!(plan(&survey, History::Full).to_string().contains("\nabout 3 minutes to"));
        assert_eq!(plan(&survey, History::Recent).seconds, None);
        survey.census = None;
        assert!(!plan(&survey, History::Full).to_string().contains("event"));
    }
}
