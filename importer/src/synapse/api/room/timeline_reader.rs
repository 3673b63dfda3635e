//! Reads a room's timeline: the state before each event, and what it refers to.
//!
//! Some events are in the timeline although Synapse shows them to no client, nor to an administrator: redactions that were not
//! allowed. They are found where another event, or an end of the room, refers to them. Such an event changes no state, and
//! all that it refers to has been read; other events that can be fetched but are not shown are outliers.

use std::collections::BTreeSet;

use ruma::{EventId, OwnedEventId};
use serde_json::value::RawValue;

use super::{
    event::{Event, event_id},
    event_spool::EventSpool,
    events::RoomEvents,
    left_state::LeftState,
    state_before::{RoomStates, StateBefore},
    state_tree,
    timeline::{Timeline, TimelinePage},
};
use crate::{
    synapse::api::{ApiError, counter::Counter},
    tally::Kind,
};

/// A timeline while it is read.
pub(super) struct TimelineReader<'a> {
    pub(super) events: RoomEvents<'a>,
    pub(super) states: RoomStates,
    pub(super) left: LeftState<'a>,
    pub(super) counter: Counter<'a>,
    /// The events of the timeline, with the states before them.
    pub(super) timeline: EventSpool,
    /// States that something in the dump refers to.
    pub(super) used: BTreeSet<u64>,
    /// Events that the dump must hold, in the timeline or as outliers.
    pub(super) needed: BTreeSet<OwnedEventId>,
    /// Events that something refers to, looked for because the timeline did not show them.
    sought: BTreeSet<OwnedEventId>,
    /// The depth from which on the timeline is read.
    begin: u64,
}

impl<'a> TimelineReader<'a> {
    pub(super) fn new(events: RoomEvents<'a>, left: LeftState<'a>, counter: Counter<'a>) -> Self {
        let states = RoomStates::default();
        let timeline = EventSpool::default();
        let (used, needed, sought) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        Self { events, states, left, counter, timeline, used, needed, sought, begin: 0 }
    }

    /// Reads the timeline from a depth on, and what is hidden behind `ends`, the forward extremities.
    pub(super) async fn read(&mut self, begin: u64, ends: &[OwnedEventId]) -> Result<(), ApiError> {
        self.begin = begin;
        let (api, room_id) = (self.events.fetcher.api, self.events.fetcher.room_id);
        let mut timeline = Timeline::from_depth(room_id, begin);
        let mut page = timeline.page(api).await?;
        while let Some(TimelinePage { chunk, .. }) = page {
            // Synapse takes longer for a page than we do, and goes on meanwhile.
            let (next, read) = tokio::join!(timeline.page(api), self.page(&chunk));
            read?;
            page = next?;
        }
        self.hidden(ends).await
    }

    async fn page(&mut self, events: &[Box<RawValue>]) -> Result<(), ApiError> {
        for json in events {
            match self.events.fetcher.parse(json, None) {
                Ok(event) => self.event(event).await?,
                Err(broken) => {
                    let id = event_id(json);
                    let (reason, detail) = (broken.reason(), broken.to_string());
                    self.counter.lost(Kind::TimelineEvent, &id, reason, detail);
                }
            }
        }
        Ok(())
    }

    async fn event(&mut self, event: Event) -> Result<(), ApiError> {
        if self.is_read(&event.id) {
            return Ok(());
        }
        if !event.prev_events.iter().all(|prev| self.is_read(prev)) {
            self.hidden(&event.prev_events).await?;
        }
        let Self { events, states, left, counter, .. } = self;
        let before = match states.before(&event, events, left, counter).await? {
            StateBefore::Nothing => None,
            StateBefore::State(id) => Some(id),
            StateBefore::Missing => {
                counter.lost(Kind::TimelineEvent, event.id.as_str(), "state-missing", "Synapse's APIs do not provide the state at the event, which decides who may see it");
                return Ok(());
            }
        };
        let base = before.unwrap_or(state_tree::EMPTY);
        let after = match event.key() {
            Some(key) => states.tree.with(base, key, event.id.clone()),
            None => base,
        };
        self.needed.extend(event.auth_events.iter().cloned());
        // One that was fetched before it turned up here is among the outliers.
        let is_spooled = event.soft_failed && events.is_outlier(&event.id);
        let (spool, kind, state_before) = if event.soft_failed {
            (&mut events.outliers, Kind::Outlier, None)
        } else {
            (&mut self.timeline, Kind::TimelineEvent, before)
        };
        match event.dump(state_before) {
            Ok(dump) => {
                if !is_spooled {
                    spool.push(&dump)?;
                }
                counter.kept(kind, 1);
            }
            Err(broken) => {
                counter.lost(kind, event.id.as_str(), broken.reason(), broken.to_string());
            }
        }
        states.latest = Some(after);
        self.used.extend(before);
        states.after.insert(event.id.clone(), after);
        events.know(event);
        Ok(())
    }

    /// Reads those of some events that are hidden, and what is hidden behind them.
    async fn hidden(&mut self, ids: &[OwnedEventId]) -> Result<(), ApiError> {
        let mut waiting: Vec<OwnedEventId> = ids.to_vec();
        let mut found: Vec<Event> = Vec::new();
        while let Some(id) = waiting.pop() {
            if self.is_read(&id) || !self.sought.insert(id.clone()) {
                continue;
            }
            if let Some(Ok(event)) = self.events.fetcher.fetch(&id).await?
                && event.state_key.is_none()
                && event.depth >= self.begin
            {
                waiting.extend(event.prev_events.iter().cloned());
                found.push(event);
            }
        }
        found.sort_by_key(|event| event.depth);
        for event in found {
            if event.prev_events.iter().all(|prev: &OwnedEventId| self.is_read(prev)) {
                // All that it refers to is read, so this ends here.
                Box::pin(self.event(event)).await?;
            }
        }
        Ok(())
    }

    fn is_read(&self, id: &EventId) -> bool {
        self.states.after.contains_key(id)
    }
}
