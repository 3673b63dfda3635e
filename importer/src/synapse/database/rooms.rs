//! Rooms: heads, states, timelines, outliers, receipts.
//!
//! A room in which nothing has happened since an earlier dump is taken over from that, see [`mod@fingerprint`].
//!
//! Events are read in one pass over the tables for all rooms ([`mod@all_events`]) or, where few of them are wanted or a row is damaged, page
//! by page. Each event is written as it comes, after the states that it is the first
//! to need. What events refer to is noted; what has not turned up at the end is written as outliers. Memory holds one full
//! state, the events of a group of rooms with their state groups, or of a large room one page, and the ids of state groups and of
//! state events.

mod aliases;
mod all_events;
mod batch;
mod event_dumper;
mod event_json;
mod fingerprint;
mod gaps;
mod head;
mod list;
mod members;
mod outliers;
mod receipts;
mod recent;
mod redactions;
mod references;
mod state_before;
mod state_groups;
mod stored_event;
mod timeline;
mod timeline_writer;

#[cfg(test)]
pub(super) mod tests;

use std::collections::BTreeMap;

use ruma::RoomId;

pub(super) use self::{
    all_events::AllEvents,
    head::version_by_create_event,
    list::{ListedRooms, list},
    members::stripped_state,
    timeline_writer::EVENT_TWICE,
};
use self::{
    batch::RoomTables, event_dumper::EventDumper, head::Head, references::References,
    state_groups::States, stored_event::FOREIGN, timeline::Timeline,
    timeline_writer::TimelineWriter,
};
use super::{Facts, connection::Databases};
use crate::{
    dump::{
        DumpWriter, RoomWriter,
        format::{DumpHistory, DumpRoom, DumpState},
    },
    source::SourceError,
    tally::{Kind, Tally},
};

/// Why events are left out of a history that no other rows could bring back than those of which a fingerprint is made.
const SETTLED: [&str; 4] = ["soft-failed", "event-missing", "event-rejected", FOREIGN];

/// Writes a room.
pub(super) async fn write(
    databases: &mut Databases,
    facts: &Facts,
    listed: &mut ListedRooms,
    room_id: &RoomId,
    writer: &DumpWriter,
    tally: &mut Tally,
) -> Result<(), SourceError> {
    let Facts { schema, config, extent, erased, .. } = facts;
    let server_name = &config.server_name;
    let mut batch = std::mem::take(&mut listed.batch);
    let tables = &mut RoomTables::new(databases, &mut batch, room_id);
    let head = head::read(tables, server_name, extent, listed, tally).await?;
    let Head { room, current, timeline } = head;
    tally.rows.met("earlier events", "", timeline.earlier);
    let present = current.iter().flat_map(BTreeMap::values);
    let dumper = EventDumper {
        version: room.room_version.as_deref(),
        bans: redactions::bans(tables, schema).await?,
        pruning: erased.room(room.room_version.as_deref(), present),
        erased,
    };
    let mut states = States::default();
    let begin = current.map(|current| states.begin(current));

    let fingerprint = listed.fingerprints.of(room_id.as_str());
    let earlier = match &fingerprint {
        Some(fingerprint) => writer.earlier_history(&room, fingerprint, begin.as_ref())?,
        None => None,
    };
    let (mut file, history) = if let Some(earlier) = earlier {
        let (file, history) = writer.room_since(&room, earlier)?;
        tally.merge(history.tally_of(room_id));
        (file, Some(history))
    } else {
        let mut file = writer.room(&room)?;
        let history = History { room: &room, timeline: &timeline, dumper: &dumper };
        let read = history.write(tables, states, begin, &mut file).await?;
        let is_settled = read.skipped.iter().all(|skip| SETTLED.contains(&&*skip.reason));
        let fingerprint = fingerprint.filter(|_| is_settled);
        let history = fingerprint.map(|fingerprint| DumpHistory::new(fingerprint, &read, room_id));
        tally.merge(read);
        (file, history)
    };
    receipts::write(tables, schema, server_name, &mut file, tally).await?;
    if let Some(history) = history {
        file.history(&history)?;
    }
    writer.finish_room(file)?;
    tally.written(Kind::Room, 1);
    listed.batch = batch;
    Ok(())
}

/// A room's history: states, timeline, outliers.
struct History<'a> {
    room: &'a DumpRoom,
    timeline: &'a Timeline,
    dumper: &'a EventDumper<'a>,
}

impl History<'_> {
    /// Writes it, and counts it by itself. `begin`: the state that comes first.
    async fn write(
        &self,
        tables: &mut RoomTables<'_>,
        states: States,
        begin: Option<DumpState>,
        file: &mut RoomWriter,
    ) -> Result<Tally, SourceError> {
        let Self { room, timeline, dumper } = *self;
        let room_id = &*room.room_id;
        let mut tally = Tally::default();
        let mut references = References::default();
        for member in &room.local_members {
            references.need(&member.event_id);
        }
        if let Some(begin) = begin {
            references.add_state(&begin);
            file.state(&begin)?;
        }
        let writing = TimelineWriter::new(room_id, dumper, file, states, references, &mut tally);
        let (databases, events) = tables.events(timeline).await?;
        let (unwritten, states) = writing.write(databases, timeline, events).await?;
        if states > 0 {
            tally.read(Kind::State, states);
            tally.written(Kind::State, states);
        }
        let db = tables.db();
        outliers::Outliers { room_id, timeline, dumper }
            .write(db, unwritten, file, &mut tally)
            .await?;
        Ok(tally)
    }
}
