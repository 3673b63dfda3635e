//! Rooms: heads, states, timelines, outliers, receipts.
//!
//! A room's timeline is read once, page by page. Each event is written as it comes, after the states that it is the first
//! to need. What events refer to is noted; what has not turned up at the end is written as outliers. Memory holds one full
//! state, one page of events, and the ids of state groups and of state events.

mod aliases;
mod event_dumper;
mod event_json;
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

use self::{
    event_dumper::EventDumper, head::Head, references::References, state_groups::States,
    timeline_writer::TimelineWriter,
};
pub(super) use self::{
    head::version_by_create_event,
    list::{ListedRooms, list},
    members::stripped_state,
    timeline_writer::EVENT_TWICE,
};
use super::{Facts, connection::Databases};
use crate::{
    dump::DumpWriter,
    source::SourceError,
    tally::{Kind, Tally},
};

/// Writes a room. `aliases`: the room of each alias that the table gives to several.
pub(super) async fn write(
    databases: &mut Databases,
    facts: &Facts,
    aliases: &BTreeMap<String, String>,
    room_id: &RoomId,
    writer: &DumpWriter,
    tally: &mut Tally,
) -> Result<(), SourceError> {
    let Facts { schema, config, extent, erased, .. } = facts;
    let server_name = &config.server_name;
    let head = head::read(databases, server_name, extent, aliases, room_id, tally).await?;
    let Head { room, current, timeline } = head;
    tally.rows.met("earlier events", "", timeline.earlier);
    let present = current.iter().flat_map(BTreeMap::values);
    let dumper = EventDumper {
        version: room.room_version.as_deref(),
        bans: redactions::bans(&mut databases.main, schema, room_id).await?,
        pruning: erased.room(room.room_version.as_deref(), present),
        erased,
    };

    let mut file = writer.room(&room)?;
    let mut references = References::default();
    for member in &room.local_members {
        references.need(&member.event_id);
    }
    let mut states = States::default();
    if let Some(current) = current {
        let state = states.begin(current);
        references.add_state(&state);
        file.state(&state)?;
    }
    let writing = TimelineWriter::new(room_id, &dumper, &mut file, states, references, tally);
    let (unwritten, states) = writing.write(databases, &timeline).await?;
    if states > 0 {
        tally.read(Kind::State, states);
        tally.written(Kind::State, states);
    }
    let db = &mut databases.main;
    outliers::Outliers { room_id, timeline: &timeline, dumper: &dumper }
        .write(db, unwritten, &mut file, tally)
        .await?;
    receipts::write(db, schema, server_name, room_id, &mut file, tally).await?;
    writer.finish_room(file)?;
    tally.written(Kind::Room, 1);
    Ok(())
}
