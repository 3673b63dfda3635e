//! Rooms: heads, states, outliers, timelines.
//!
//! A room's timeline is read once, page by page. Each event is written as it comes; the states that it is the first to
//! need go into the room's file, and what it refers to is noted, to be written as outliers if it does not turn up later.
//! Memory holds one full state, one page of events, and ids of state groups and of state events.

mod event_json;
mod gaps;
mod head;
mod outliers;
mod receipts;
mod recent;
mod redactions;
mod references;
mod state_before;
mod state_groups;
mod stored_event;
mod timeline;

#[cfg(test)]
pub(super) mod tests;

use std::collections::BTreeSet;

use ruma::{OwnedEventId, OwnedRoomId, RoomId};

pub(super) use self::head::stripped_state;
use self::{
    head::Head,
    redactions::BanRedaction,
    references::Needed,
    state_before::Groups,
    state_groups::{Found, States},
    stored_event::{Form, Record, StoredEvent},
    timeline::{Placed, Position, Timeline},
};
use super::{
    DatabaseError, DatabaseSource,
    connection::Connection,
    counter::Items,
    row::{BrokenRow, Row},
};
use crate::{
    dump::{
        DumpWriter, RoomWriter,
        format::{DumpEvent, DumpState},
    },
    source::SourceError,
    synapse::erased::Pruning,
    tally::{Kind, Tally},
};

/// Why a row of an event is left out that another one has the id of.
pub(super) const EVENT_TWICE: &str = "event-twice";

/// A room while it is read.
struct Room {
    id: OwnedRoomId,
    /// NULL for old pending invites.
    version: Option<String>,
    timeline: Timeline,
    states: States,
    needed: Needed,
    /// Events that failed softly.
    soft_failed: BTreeSet<OwnedEventId>,
    /// State events that have no place in the timeline, as the state before them is lost.
    stateless: BTreeSet<OwnedEventId>,
    /// State groups of the page of events that was read last.
    recent: Groups,
    bans: Vec<BanRedaction>,
    pruning: Pruning,
}

impl DatabaseSource {
    pub(super) async fn read_rooms(
        &mut self,
        tally: &mut Tally,
    ) -> Result<Vec<OwnedRoomId>, DatabaseError> {
        let table = "local_current_membership";
        let sql = "SELECT room_id, COUNT(*) FROM local_current_membership GROUP BY room_id";
        let rows = self.main.rows(table, sql, &[]).await?;
        let mut items = Items::new(tally, Kind::Room, "");
        let mut rooms = Vec::with_capacity(rows.len());
        for row in &rows {
            match row.decode::<(OwnedRoomId,)>() {
                Ok((room_id,)) => {
                    items.read(1);
                    rooms.push(room_id);
                }
                Err(broken) => {
                    items.broken(Row::Kept(row), &broken);
                    let number = row.integer(1).and_then(|number| usize::try_from(number).ok());
                    items.rows(table, number.unwrap_or(0));
                    for _ in 0..number.unwrap_or(0) {
                        items.row_left_out(table, broken.reason);
                    }
                    self.owners.rooms_left_out.insert(row.label());
                }
            }
        }
        let mut of_state = self.rooms_of_state().await?;
        let mut items = Items::new(tally, Kind::Room, "");
        // Rows of what is no room are nobody's.
        of_state.retain(|room| {
            items.read(1);
            let id = OwnedRoomId::try_from(room.as_str());
            if id.is_err() {
                items.skip(room, "id-invalid", "no room can have this id");
            }
            rooms.extend(id.as_ref().ok().cloned());
            id.is_ok()
        });
        self.owners.rooms_of_state = of_state;
        rooms.sort();
        self.owners.aliases = self.aliases_of_several(&rooms).await?;
        if let Some(second) = &mut self.second {
            second.owners.aliases.clone_from(&self.owners.aliases);
        }
        Ok(rooms)
    }

    pub(super) async fn read_room(
        &mut self,
        room_id: &RoomId,
        writer: &DumpWriter,
        tally: &mut Tally,
    ) -> Result<(), SourceError> {
        let Head { room: head, current, timeline } = self.head(room_id, tally).await?;
        let mut room = Room {
            id: room_id.to_owned(),
            version: head.room_version.clone(),
            timeline,
            states: States::default(),
            needed: Needed::default(),
            soft_failed: BTreeSet::new(),
            stateless: BTreeSet::new(),
            recent: Groups::new(),
            bans: self.ban_redactions(room_id).await?,
            pruning: self.erased.room(head.room_version.as_deref(), std::iter::empty()),
        };
        for member in &head.local_members {
            room.needed.need(&member.event_id);
        }
        tally.rows.met("earlier events", "", head.earlier_events.unwrap_or(0));
        let mut file = writer.room(&head)?;
        if let Some(current) = current {
            let state = room.states.begin(current);
            let present = state.set.iter().map(|(_, _, event_id)| event_id);
            room.pruning = self.erased.room(room.version.as_deref(), present);
            room.needed.by_state(&state);
            file.state(&state)?;
        }
        self.write_timeline(&mut room, &mut file, tally).await?;
        if room.states.number() > 0 {
            tally.read(Kind::State, room.states.number());
            tally.written(Kind::State, room.states.number());
        }
        self.write_outliers(&mut room, &mut file, tally).await?;
        self.write_receipts(room_id, &mut file, tally).await?;
        writer.finish_room(file)?;
        tally.written(Kind::Room, 1);
        Ok(())
    }

    /// The connection to the tables of state groups.
    fn states_db(&mut self) -> &mut Connection {
        self.state.as_mut().unwrap_or(&mut self.main)
    }

    async fn write_timeline(
        &mut self,
        room: &mut Room,
        file: &mut RoomWriter,
        tally: &mut Tally,
    ) -> Result<(), SourceError> {
        let id = room.id.clone();
        let mut items = Items::new(tally, Kind::TimelineEvent, id.as_str()).of("events");
        let mut cursor = room.timeline.cursor();
        loop {
            let page = room.timeline.page(&mut self.main, &mut cursor).await?;
            if page.is_empty() {
                return Ok(());
            }
            self.write_page(room, &page, file, &mut items).await?;
        }
    }

    async fn write_page(
        &mut self,
        room: &mut Room,
        page: &[Placed],
        file: &mut RoomWriter,
        items: &mut Items<'_>,
    ) -> Result<(), SourceError> {
        let mut events = Vec::with_capacity(page.len());
        let twins = page
            .iter()
            .zip(page.iter().skip(1))
            .filter(|(one, next)| one.event_id == next.event_id);
        items.rows("events", page.len().saturating_sub(twins.count()));
        for (index, placed) in page.iter().enumerate() {
            let before = index.checked_sub(1).and_then(|index| page.get(index));
            if before.is_some_and(|before| before.event_id == placed.event_id) {
                items.read(1);
                items.skip_twin(
                    &placed.event_id,
                    EVENT_TWICE,
                    "a table has the event's row twice; the first one is taken",
                );
                continue;
            }
            let read = placed.event.as_ref().map_err(Clone::clone).and_then(Record::read);
            match read {
                // Nobody has seen it, but a later event may name it as what authorises it.
                Ok(event) if event.record.metadata.soft_failed.0 => {
                    room.soft_failed.insert(event.record.event_id.clone());
                }
                Ok(event) => events.push(event),
                Err(broken) => {
                    items.read(1);
                    skip_broken(items, &placed.event_id, &broken);
                }
            }
        }
        items.read(events.len());
        let befores = self.befores(&room.id, &events, &mut room.recent).await?;
        let redactions = self.redactions(&room.id, &events).await?;
        room.states.prepare(self.states_db(), &befores).await?;
        for (event, before) in events.iter().zip(befores) {
            let needed = &mut room.needed;
            let mut write = |state: &DumpState| -> Result<(), SourceError> {
                needed.by_state(state);
                Ok(file.state(state)?)
            };
            let found = room.states.before(self.states_db(), event, before, &mut write).await?;
            let state_before = match found {
                Found::Nothing => None,
                Found::State(id) => Some(id),
                Found::Missing => {
                    items.skip(event.record.event_id.as_str(), "state-missing", "Synapse's database does not hold the state at the event, so nobody could tell who may see it");
                    if event.pdu.state_key.is_some() {
                        room.stateless.insert(event.record.event_id.clone());
                    }
                    continue;
                }
            };
            let redacted_by = redactions.of(event, &room.bans);
            match self.dumped(room, event, state_before, redacted_by) {
                Ok(dump) => {
                    let stream = Some(event.record.position.stream());
                    file.timeline(&DumpEvent { stream, ..dump })?;
                    items.written(1);
                    room.needed.by_event(event);
                }
                Err((reason, detail)) => {
                    items.skip(event.record.event_id.as_str(), reason, detail);
                }
            }
        }
        Ok(())
    }

    /// An event for the dump, or why it may not be there.
    fn dumped<'a>(
        &self,
        room: &Room,
        event: &'a StoredEvent<'a>,
        state_before: Option<u64>,
        redacted_by: Option<OwnedEventId>,
    ) -> Result<DumpEvent<Form<'a>>, (&'static str, String)> {
        let dump = event
            .dump(room.version.as_deref(), state_before, redacted_by)
            .map_err(|unredactable| (unredactable.reason(), unredactable.to_string()))?;
        if !self.erased.contains(&event.pdu.sender) {
            return Ok(dump);
        }
        let (form, dump) = dump.exchange(());
        let whole = form.to_raw().map_err(|why| (why.reason(), why.to_string()))?;
        let ((), dump) = dump.exchange(whole);
        let pruned = self
            .erased
            .prune(dump, &room.pruning)
            .map_err(|unprunable| (unprunable.reason(), unprunable.to_string()))?;
        let (pdu, dump) = pruned.exchange(());
        Ok(dump.exchange(Form::Made(pdu)).1)
    }
}

fn skip_broken(items: &mut Items<'_>, event_id: &str, broken: &BrokenRow) {
    // What is not there, or is another room's, is not unreadable.
    let reason = match broken.reason {
        stored_event::JSON_MISSING | stored_event::FOREIGN => broken.reason,
        _ => "event-unparsable",
    };
    items.skip(event_id, reason, broken.to_string());
}
