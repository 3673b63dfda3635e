//! Rooms: heads, states, outliers, timelines.
//!
//! A room is read in two passes over its timeline: the first finds the states, which stand first in a room's file, and
//! the events that they and the timeline's auth chains refer to; the second writes the timeline. Memory holds one full
//! state, one page of events, and ids of states and of state events.

mod before;
mod event;
mod head;
mod outliers;
mod receipts;
mod redactions;
mod states;
mod timeline;

use std::collections::BTreeSet;

use ruma::{OwnedEventId, OwnedRoomId, RoomId};

use self::{
    before::Before,
    event::StoredEvent,
    head::Head,
    redactions::BanRedaction,
    states::{States, Step},
    timeline::{Position, Timeline},
};
use super::{DatabaseError, DatabaseSource, items::Items, row::BrokenRow};
use crate::{
    dump::{DumpWriter, RoomWriter, format::DumpEvent},
    synapse::{SourceError, erased::Pruning},
    tally::{Kind, Tally},
};

/// A room while it is read.
struct Room {
    id: OwnedRoomId,
    /// NULL for old pending invites.
    version: Option<String>,
    timeline: Timeline,
    states: States,
    /// Events that the dump must hold, in the timeline or as outliers.
    needed: BTreeSet<OwnedEventId>,
    bans: Vec<BanRedaction>,
    pruning: Pruning,
}

impl DatabaseSource {
    pub(super) async fn read_rooms(
        &mut self,
        tally: &mut Tally,
    ) -> Result<Vec<OwnedRoomId>, DatabaseError> {
        let sql = "SELECT DISTINCT room_id FROM local_current_membership";
        let rows = self.main.rows("local_current_membership", sql, &[]).await?;
        let mut rooms: Vec<_> = Items::new(tally, Kind::Room, "")
            .decode::<(OwnedRoomId,)>(&rows)
            .into_iter()
            .map(|(room_id,)| room_id)
            .collect();
        rooms.sort();
        Ok(rooms)
    }

    pub(super) async fn read_room(
        &mut self,
        room_id: &RoomId,
        writer: &mut DumpWriter,
        tally: &mut Tally,
    ) -> Result<(), SourceError> {
        let Head { room: head, current, timeline } = self.head(room_id, tally).await?;
        let mut room = Room {
            id: room_id.to_owned(),
            version: head.room_version.clone(),
            timeline,
            states: States::default(),
            needed: head.local_members.iter().map(|member| member.event_id.clone()).collect(),
            bans: self.ban_redactions(room_id).await?,
            pruning: self.erased.room(head.room_version.as_deref(), std::iter::empty()),
        };
        let mut file = writer.room(&head)?;
        if let Some(current) = current {
            let state = room.states.begin(current);
            let present = state.set.iter().map(|(_, _, event_id)| event_id);
            room.pruning = self.erased.room(room.version.as_deref(), present);
            room.needed.extend(state.set.iter().map(|(_, _, event_id)| event_id.clone()));
            file.state(&state)?;
            tally.read(Kind::State, 1);
            tally.written(Kind::State, 1);
        }
        self.write_states(&mut room, &mut file, tally).await?;
        self.write_outliers(&mut room, &mut file, tally).await?;
        self.write_timeline(&room, &mut file, tally).await?;
        self.write_receipts(room_id, &mut file, tally).await?;
        writer.finish_room(file)?;
        tally.written(Kind::Room, 1);
        Ok(())
    }

    /// The first pass.
    async fn write_states(
        &mut self,
        room: &mut Room,
        file: &mut RoomWriter,
        tally: &mut Tally,
    ) -> Result<(), SourceError> {
        let mut position = room.timeline.begin;
        loop {
            let page = room.timeline.page(&mut self.main, position).await?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            position = *last;
            let events: Vec<StoredEvent> =
                page.into_iter().filter_map(|(_, event)| event.ok()).collect();
            let befores = self.befores(&room.id, &events).await?;
            for (event, before) in events.into_iter().zip(befores) {
                if let Step::New(state) = room.states.step(self.states_db(), &event, before).await?
                {
                    room.needed.extend(state.set.iter().map(|(_, _, event_id)| event_id.clone()));
                    file.state(&state)?;
                    tally.read(Kind::State, 1);
                    tally.written(Kind::State, 1);
                }
                room.needed.extend(event.pdu.auth_events);
            }
        }
    }

    /// The second pass.
    async fn write_timeline(
        &mut self,
        room: &Room,
        file: &mut RoomWriter,
        tally: &mut Tally,
    ) -> Result<(), SourceError> {
        let mut position = room.timeline.begin;
        let mut items = Items::new(tally, Kind::TimelineEvent, room.id.as_str());
        loop {
            let page = room.timeline.page(&mut self.main, position).await?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            position = *last;
            items.read(page.len());
            let events: Vec<StoredEvent> = page
                .into_iter()
                .filter_map(|(_, event)| match event {
                    Ok(event) => Some(event),
                    Err((event_id, broken)) => {
                        skip_broken(&mut items, &event_id, &broken);
                        None
                    }
                })
                .collect();
            let befores = self.befores(&room.id, &events).await?;
            let redactions = self.redactions(&room.id, &events).await?;
            for (event, before) in events.iter().zip(befores) {
                let state_before = room.states.known(&event.event_id, &before);
                if state_before.is_none() && before != Before::Nothing {
                    items.skip(event.event_id.as_str(), "state-missing", "Synapse's database does not hold the state at the event, so nobody could tell who may see it");
                    continue;
                }
                let redacted_by = redactions.of(event, &room.bans);
                match self.dumped(room, event, state_before, redacted_by) {
                    Ok(event) => {
                        file.timeline(&event)?;
                        items.written(1);
                    }
                    Err((reason, detail)) => items.skip(event.event_id.as_str(), reason, detail),
                }
            }
        }
    }

    /// An event for the dump, or why it may not be there.
    fn dumped(
        &self,
        room: &Room,
        event: &StoredEvent,
        state_before: Option<u64>,
        redacted_by: Option<OwnedEventId>,
    ) -> Result<DumpEvent, (&'static str, String)> {
        let event = event
            .dump(room.version.as_deref(), state_before, redacted_by)
            .map_err(|unredactable| (unredactable.reason(), unredactable.to_string()))?;
        self.erased
            .prune(event, &room.pruning)
            .map_err(|unprunable| (unprunable.reason(), unprunable.to_string()))
    }

    /// The connection to the tables of state groups.
    fn states_db(&mut self) -> &mut super::Connection {
        self.state.as_mut().unwrap_or(&mut self.main)
    }
}

fn skip_broken(items: &mut Items<'_>, event_id: &str, broken: &BrokenRow) {
    items.skip(event_id, "event-unparsable", broken.to_string());
}

#[cfg(test)]
pub(super) mod tests;
