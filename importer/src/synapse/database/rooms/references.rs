//! Which events the dump must hold because something in it refers to them.

use std::collections::BTreeSet;

use ruma::{EventId, OwnedEventId};

use super::stored_event::StoredEvent;
use crate::dump::format::DumpState;

/// Events that are referred to and have not been written yet. Only state events are ever rightly referred to; so ids of
/// others are forgotten as soon as they are written.
#[derive(Debug, Default)]
pub(super) struct References {
    /// State events of the timeline that have been written.
    written: BTreeSet<OwnedEventId>,
    missing: BTreeSet<OwnedEventId>,
    /// The last event's auth events, as they stood there: most events have the same as the one before.
    last: String,
}

impl References {
    /// Notes a reference to an event.
    pub(super) fn need(&mut self, event_id: &EventId) {
        if !self.written.contains(event_id) {
            self.missing.insert(event_id.to_owned());
        }
    }

    /// Notes the events that a state is made of.
    pub(super) fn add_state(&mut self, state: &DumpState) {
        for (_, _, event_id) in &state.set {
            self.need(event_id);
        }
    }

    /// Notes that an event of the timeline is written, and what allows it.
    pub(super) fn add_event(&mut self, event: &StoredEvent<'_>) {
        let raw = event.pdu.raw_auth_events();
        if self.last != raw {
            self.last.clear();
            self.last.push_str(raw);
            for event_id in event.pdu.auth_events() {
                self.need(&event_id);
            }
        }
        if event.pdu.state_key.is_some() {
            self.missing.remove(&event.row.event_id);
            self.written.insert(event.row.event_id.clone());
        }
    }

    /// The events that have not been written.
    pub(super) fn missing(self) -> BTreeSet<OwnedEventId> {
        self.missing
    }
}
