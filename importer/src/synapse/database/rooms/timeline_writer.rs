//! Writes a room's timeline, with the states that its events need.

use std::collections::BTreeSet;

use ruma::{OwnedEventId, RoomId};

use super::{
    batch::RoomEvents,
    event_dumper::EventDumper,
    redactions::{self, Redactions},
    references::References,
    state_before::{self, GroupsOfEvents, StateBefore},
    state_groups::{FoundState, States},
    stored_event::{EventRow, FOREIGN, JSON_MISSING, StoredEvent},
    timeline::{Timeline, TimelineRow},
};
use crate::{
    dump::{
        RoomWriter,
        format::{DumpEvent, DumpState},
    },
    source::SourceError,
    synapse::database::{
        connection::{Connection, Databases},
        counter::Items,
        row::BrokenRow,
    },
    tally::{Kind, Tally},
};

/// Why a row of an event is left out that another one has the id of.
pub(in crate::synapse::database) const EVENT_TWICE: &str = "event-twice";

/// A timeline while it is written.
pub(super) struct TimelineWriter<'a> {
    room_id: &'a RoomId,
    dumper: &'a EventDumper<'a>,
    file: &'a mut RoomWriter,
    items: Items<'a>,
    states: States,
    /// State groups of the events of the page before.
    groups: GroupsOfEvents,
    unwritten: Unwritten,
}

/// What the timeline leaves to the outliers.
pub(super) struct Unwritten {
    pub(super) references: References,
    /// Events that failed softly.
    pub(super) soft_failed: BTreeSet<OwnedEventId>,
    /// State events that have no place in the timeline, as the state before them is lost.
    pub(super) stateless: BTreeSet<OwnedEventId>,
}

impl<'a> TimelineWriter<'a> {
    pub(super) fn new(
        room_id: &'a RoomId,
        dumper: &'a EventDumper<'a>,
        file: &'a mut RoomWriter,
        states: States,
        references: References,
        tally: &'a mut Tally,
    ) -> Self {
        let items = Items::new(tally, Kind::TimelineEvent, room_id.as_str()).of("events");
        let (soft_failed, stateless) = (BTreeSet::new(), BTreeSet::new());
        let unwritten = Unwritten { references, soft_failed, stateless };
        let groups = GroupsOfEvents::new();
        Self { room_id, dumper, file, items, states, groups, unwritten }
    }

    /// Writes the timeline, by its `events` if they have been read. Returns what it leaves, and how many states there are.
    pub(super) async fn write(
        mut self,
        databases: &mut Databases,
        timeline: &Timeline,
        mut events: Option<RoomEvents<'_>>,
    ) -> Result<(Unwritten, u64), SourceError> {
        let mut held = events.as_mut().and_then(|events| events.held.take());
        if let Some(held) = &mut held {
            self.states.lend(std::mem::take(held.groups));
        }
        let mut cursor = timeline.cursor();
        loop {
            let page = match &mut events {
                Some(events) => events.page()?,
                None => timeline.page(&mut databases.main, &mut cursor).await?,
            };
            if page.is_empty() {
                break;
            }
            self.page(databases, &page, held.as_ref().map(|held| &held.redactions)).await?;
        }
        if let Some(held) = held {
            *held.groups = self.states.returned();
        }
        Ok((self.unwritten, self.states.number()))
    }

    async fn page(
        &mut self,
        databases: &mut Databases,
        page: &[TimelineRow],
        redactions: Option<&Redactions>,
    ) -> Result<(), SourceError> {
        let events = self.readable(page);
        let db = &mut databases.main;
        let befores = state_before::read(db, self.room_id, &events, &mut self.groups).await?;
        let of_page;
        let redactions = if let Some(redactions) = redactions {
            redactions
        } else {
            of_page = redactions::read(db, self.room_id, &events).await?;
            &of_page
        };
        self.states.prepare(databases.states(), &befores).await?;
        for (event, before) in events.iter().zip(befores) {
            self.event(databases.states(), event, before, redactions).await?;
        }
        Ok(())
    }

    /// The events of a page that can be read and were shown to somebody; counts all.
    fn readable<'p>(&mut self, page: &'p [TimelineRow]) -> Vec<StoredEvent<'p>> {
        let mut events = Vec::with_capacity(page.len());
        let items = &mut self.items;
        let mut last = None;
        for row in page {
            if last == Some(&row.event_id) {
                items.read(1);
                items.skip_twin(
                    &row.event_id,
                    EVENT_TWICE,
                    "a table has the event's row twice; the first one is used",
                );
                continue;
            }
            last = Some(&row.event_id);
            items.rows("events", 1);
            match row.event.as_ref().map_err(Clone::clone).and_then(EventRow::read) {
                // Nobody has seen it, but a later event may name it as what authorises it.
                Ok(event) if event.row.metadata.soft_failed.0 => {
                    self.unwritten.soft_failed.insert(event.row.event_id.clone());
                }
                Ok(event) => events.push(event),
                Err(broken) => {
                    items.read(1);
                    skip_broken(items, &row.event_id, &broken);
                }
            }
        }
        items.read(events.len());
        events
    }

    /// Writes an event, after the states that it needs.
    async fn event(
        &mut self,
        db: &mut Connection,
        event: &StoredEvent<'_>,
        before: StateBefore,
        redactions: &Redactions,
    ) -> Result<(), SourceError> {
        let Self { dumper, file, items, states, unwritten, .. } = self;
        let mut write = |state: &DumpState| -> Result<(), SourceError> {
            unwritten.references.add_state(state);
            Ok(file.state(state)?)
        };
        let state_before = match states.before(db, event, before, &mut write).await? {
            FoundState::Nothing => None,
            FoundState::State(id) => Some(id),
            FoundState::Missing => {
                items.skip(
                    event.row.event_id.as_str(),
                    "state-missing",
                    "Synapse's database lacks the state at the event, which decides who may see it",
                );
                if event.pdu.state_key.is_some() {
                    unwritten.stateless.insert(event.row.event_id.clone());
                }
                return Ok(());
            }
        };
        match dumper.dump(event, state_before, redactions) {
            Ok(dump) => {
                let stream = Some(event.row.position().stream());
                file.timeline(&DumpEvent { stream, ..dump })?;
                items.written(1);
                unwritten.references.add_event(event);
            }
            Err((reason, detail)) => items.skip(event.row.event_id.as_str(), reason, detail),
        }
        Ok(())
    }
}

/// Skips an event whose row, or JSON, can't be read.
pub(super) fn skip_broken(items: &mut Items<'_>, event_id: &str, broken: &BrokenRow) {
    // What is not there, or is another room's, is not unreadable.
    let reason = match broken.reason {
        JSON_MISSING | FOREIGN => broken.reason,
        _ => "event-unparsable",
    };
    items.skip(event_id, reason, broken.to_string());
}
