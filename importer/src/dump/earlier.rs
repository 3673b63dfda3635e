//! An earlier dump of the same homeserver, whose rooms' histories are taken over where nothing has happened since.
//!
//! A history is a room's states, its outliers and its timeline: nearly all of a dump. The head and the receipts are read anew.

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use super::{
    DumpReader, History, ReadError, RoomReader,
    format::{DumpHistory, DumpRoom, DumpState, Since, SourceInfo, SourceKind},
    names,
};
use crate::{tally::Kind, version::version_and_commit};

/// An earlier dump whose files are unchanged.
#[derive(Debug)]
pub struct EarlierDump {
    dump: DumpReader,
    /// Why nothing can be taken over.
    refused: Option<String>,
    rooms: AtomicU64,
    events: AtomicU64,
}

/// A room's history that can be taken over.
#[derive(Debug)]
pub struct EarlierHistory {
    pub(super) room: RoomReader,
    pub(super) history: DumpHistory,
}

/// An earlier dump that is another homeserver's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the earlier dump in `{directory}` is of {found}, not of {expected}: name one of this server, or leave out `--since`"
)]
pub struct OtherServer {
    directory: String,
    found: String,
    expected: String,
}

impl EarlierDump {
    /// Of a dump by the same importer, from a homeserver that says this of itself now.
    ///
    /// # Errors
    ///
    /// [`OtherServer`].
    pub fn new(
        dump: DumpReader,
        server_name: &str,
        source: &SourceInfo,
    ) -> Result<Self, OtherServer> {
        let earlier = dump.manifest();
        if earlier.server_name != server_name {
            return Err(OtherServer {
                directory: dump.directory().display().to_string(),
                found: earlier.server_name.clone(),
                expected: server_name.to_owned(),
            });
        }
        let refused = refused(earlier.importer.as_deref(), &earlier.source, source);
        Ok(Self { dump, refused, rooms: AtomicU64::new(0), events: AtomicU64::new(0) })
    }

    /// What was taken over so far.
    pub(super) fn since(&self) -> Since {
        Since {
            created_ts: self.dump.manifest().created_ts,
            rooms: self.rooms.load(Ordering::Relaxed),
            events: self.events.load(Ordering::Relaxed),
            refused: self.refused.clone(),
        }
    }

    /// The history of a room, if it is still what the dump has. `fingerprint`: what it is made of now. `current`: the state that
    /// comes first.
    pub(super) fn history(
        &self,
        room: &DumpRoom,
        fingerprint: &str,
        current: Option<&DumpState>,
    ) -> Result<Option<EarlierHistory>, ReadError> {
        if self.refused.is_some() {
            return Ok(None);
        }
        let Some(mut earlier) = self.dump.room(room.room_id.as_str())? else { return Ok(None) };
        let again = earlier.reopen()?;
        if !is_same(earlier.head(), room)
            || earlier.states()?.next().transpose()?.as_ref() != current
        {
            return Ok(None);
        }
        let history = earlier.history()?.filter(|history| history.fingerprint == fingerprint);
        Ok(history.map(|history| EarlierHistory { room: again, history }))
    }

    /// Gives a room's timeline a second name, in the directory of a new dump. Where the file system can't, it is copied.
    pub(super) fn link(
        &self,
        room: &DumpRoom,
        history: &DumpHistory,
        directory: &Path,
    ) -> std::io::Result<super::format::FileEntry> {
        let path = names::timeline(&names::room(room.room_id.as_str())).unwrap_or_default();
        let Some(entry) = self.dump.file(&path) else {
            return Err(std::io::ErrorKind::NotFound.into());
        };
        let (from, to) = (self.dump.directory().join(&path), directory.join(&path));
        if fs::hard_link(&from, &to).is_err() {
            fs::copy(&from, &to)?;
        }
        let events = history.tally.written.get(&Kind::TimelineEvent).copied().unwrap_or(0);
        self.rooms.fetch_add(1, Ordering::Relaxed);
        self.events.fetch_add(events, Ordering::Relaxed);
        Ok(entry.clone())
    }
}

/// Why nothing can be taken over from a dump, for people.
fn refused(importer: Option<&str>, earlier: &SourceInfo, now: &SourceInfo) -> Option<String> {
    let (is, was) = (version_and_commit(), importer.unwrap_or("an older version"));
    let history = |info: &SourceInfo| info.extent.map(|extent| extent.history);
    if was != is {
        return Some(format!("it was made by importer {was}, and this is {is}"));
    }
    if now.kind == SourceKind::Api || now.kind != earlier.kind {
        return Some("only a dump of the same kind of database can be compared".into());
    }
    if history(earlier) != Some(History::Full) || history(now) != Some(History::Full) {
        return Some("both dumps must be made with `--history full`".into());
    }
    if earlier.schema_version != now.schema_version {
        return Some("Synapse has been updated since, and its tables with it".into());
    }
    if let Some(update) = earlier.pending_updates.first() {
        return Some(format!(
            "Synapse was still changing its tables when the earlier dump was made (`{update}`)"
        ));
    }
    if let Some(update) = now.pending_updates.first() {
        return Some(format!("Synapse is still changing its tables (`{update}`)"));
    }
    None
}

/// Whether two heads of a room go with the same history.
fn is_same(earlier: &DumpRoom, now: &DumpRoom) -> bool {
    let members = |room: &DumpRoom| -> Vec<_> {
        room.local_members.iter().map(|member| member.event_id.clone()).collect()
    };
    earlier.room_id == now.room_id
        && earlier.room_version == now.room_version
        && earlier.current_state == now.current_state
        && earlier.earlier_events == now.earlier_events
        && members(earlier) == members(now)
}
