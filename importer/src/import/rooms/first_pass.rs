//! The first pass over a room: which events there are, and which state each one needs.

#![warn(clippy::arithmetic_side_effects, reason = "other servers say the depths of events")]

use std::collections::{BTreeMap, BTreeSet};

use super::{
    MARGIN,
    lazy_event::{LazyEvent, Parser},
    numbering::{Numbering, Slot, hash},
    parse_ahead,
    source::{Item, RoomSource, Sections},
};
use crate::{
    dump::format::{DumpRoom, DumpState},
    import::{ImportError, events::event::Event, row_writer::Rows, skip::SkipReason},
};

/// Most numbers left free for one room. Depths are other servers' words and may be anything.
const MOST_RESERVED: u64 = 1 << 32;

const VISIBILITY: &str = "m.room.history_visibility";

/// What the first pass found.
#[derive(Debug, Default)]
pub(super) struct FirstPass {
    pub(super) numbering: Numbering,
    /// States by id, with the last one that is based on each.
    pub(super) states: BTreeMap<u64, u64>,
    /// What makes a state one that an event can have before it.
    needs: BTreeMap<u64, Needs>,
    /// Whether an event is known that can be shown: it can be stored, and so can what its state needs.
    shown: bool,
    /// For each state event of the timeline: the state before it, its short state key, its slot. Sorted.
    pub(super) before: Vec<(u64, u64, Slot)>,
    /// States before events that are known to be storable; not necessarily all.
    pub(super) used_states: BTreeSet<u64>,
    /// Hashes of the ids of redactions that took effect.
    pub(super) redactions: BTreeSet<u64>,
    /// Whether there may be threads.
    pub(super) has_threads: bool,
    /// Whether the create event is in the timeline.
    pub(super) create_in_timeline: bool,
    /// Hashes of the ids of create events that can be stored.
    creates: BTreeSet<u64>,
    /// Depth of the first timeline event, and whether it is the create event.
    first: Option<(u64, bool)>,
}

/// Hashes of the ids of the events without which a state can't be kept.
#[derive(Clone, Copy, Debug, Default)]
struct Needs {
    create: Option<u64>,
    visibility: Option<u64>,
}

impl FirstPass {
    pub(super) fn of(
        source: &dyn RoomSource,
        parser: &Parser<'_>,
        rows: &mut Rows<'_>,
    ) -> Result<Self, ImportError> {
        let mut found = Self::default();
        let prepare = |event: &LazyEvent| {
            if event.peeked().is_state {
                event.parse(parser);
            }
        };
        parse_ahead::read(source, Sections::All, prepare, |item| {
            match item {
                Item::State(state) => found.state(&state),
                Item::Outlier(event) => found.outlier(&event, parser),
                Item::Timeline(event) => found.timeline(&event, parser, rows)?,
                Item::Receipt(_) => {}
            }
            Ok(())
        })?;
        found.before.sort_unstable_by_key(|(state, key, _)| (*state, *key));
        Ok(found)
    }

    /// Whether a state can be used: ids ascend, and a base comes before what is based on it.
    fn state(&mut self, state: &DumpState) {
        let ascends = self.states.last_key_value().is_none_or(|(last, _)| *last < state.id);
        let base = state.base.map(|base| self.states.get_mut(&base));
        match base {
            None if ascends => {}
            Some(Some(last_child)) if ascends => *last_child = state.id,
            _ => return,
        }
        let base = state.base.and_then(|base| self.needs.get(&base)).copied().unwrap_or_default();
        let of = |name: &str, base: Option<u64>| {
            let set = state.set.iter().rfind(|(kind, key, _)| kind == name && key.is_empty());
            let unset = state.unset.iter().any(|(kind, key)| kind == name && key.is_empty());
            set.map(|(_, _, id)| hash(id)).or(base.filter(|_| !unset))
        };
        let needs = Needs {
            create: of("m.room.create", base.create),
            visibility: of(VISIBILITY, base.visibility),
        };
        self.needs.insert(state.id, needs);
        self.states.insert(state.id, 0);
    }

    fn outlier(&mut self, event: &LazyEvent, parser: &Parser<'_>) {
        if event.peeked().is_state {
            let Ok(parsed) = event.parsed(parser) else { return };
            if parsed.is_create() {
                self.creates.insert(hash(&event.event_id));
            }
            self.note_key(parsed);
        }
        self.redactions.extend(event.redacted_by.as_ref().map(hash));
        self.numbering.add_outlier(&event.event_id);
    }

    fn note_key(&mut self, event: &Event) {
        if let Some(state_key) = &event.state_key {
            self.numbering.note_key(&event.id, &event.kind, state_key);
        }
    }

    fn timeline(
        &mut self,
        event: &LazyEvent,
        parser: &Parser<'_>,
        rows: &mut Rows<'_>,
    ) -> Result<(), ImportError> {
        let before = event.state_before.filter(|state| self.states.contains_key(state));
        let is_state = event.peeked().is_state;
        let wanted = is_state || !self.shown;
        let Ok(parsed) = wanted.then(|| event.parsed(parser)).transpose() else { return Ok(()) };
        self.redactions.extend(event.redacted_by.as_ref().map(hash));
        self.has_threads |= event.peeked().may_be_in_thread;
        if let Some(parsed) = parsed {
            self.note_key(parsed);
        }
        let is_first = parsed.is_some_and(is_first);
        if parsed.is_some_and(Event::is_create) {
            self.creates.insert(hash(&event.event_id));
        }
        if before.is_none() && !is_first {
            if is_state {
                self.numbering.add_outlier(&event.event_id);
            }
            return Ok(());
        }
        let Some(slot) = self.numbering.add_timeline(&event.event_id, event.stream) else {
            return Ok(());
        };
        let Some(parsed) = parsed else { return Ok(()) };
        self.first.get_or_insert((parsed.depth, is_first));
        self.create_in_timeline |= is_first;
        if let Some(before) = before.filter(|_| !is_first) {
            self.used_states.insert(before);
            self.shown |= self.can_be_before(before);
            if let Some(key) = &parsed.state_key {
                let key = rows.short_state_key(&parsed.kind, key)?;
                self.before.push((before, key, slot));
            }
        }
        Ok(())
    }

    /// Why the room can't be imported: found before anything of the room is written.
    pub(super) fn obstacle(&self, head: &DumpRoom) -> Option<SkipReason> {
        let (code, detail) =
            if head.current_state.is_none_or(|state| !self.states.contains_key(&state)) {
                ("state-missing", "its current state is not in the dump")
            } else if self.creates.is_empty() {
                ("create-event-missing", "its create event is not in the dump")
            } else if head.current_state.is_none_or(|state| !self.has_create(state)) {
                ("state-incomplete", "its current state lacks the create event")
            } else if !self.create_in_timeline && !self.can_show() {
                ("no-timeline", "none of its events has a known state")
            } else {
                return None;
            };
        Some(SkipReason::new(code, detail))
    }

    /// Whether there is an event that can be shown.
    fn can_show(&self) -> bool {
        self.shown || self.used_states.iter().any(|state| self.can_be_before(*state))
    }

    /// Whether a state has a create event that can be stored.
    fn has_create(&self, state: u64) -> bool {
        let create = self.needs.get(&state).and_then(|needs| needs.create);
        create.is_some_and(|create| self.creates.contains(&create))
    }

    /// Whether a state can be kept as one before an event, as far as its events are known.
    fn can_be_before(&self, state: u64) -> bool {
        let visibility = self.needs.get(&state).and_then(|needs| needs.visibility);
        self.has_create(state) && visibility.is_none_or(|id| self.numbering.has(id, VISIBILITY, ""))
    }

    /// How many numbers to leave free for events before the first one: all that the source knows of; otherwise as many
    /// as the depth of the first one allows, twice, for the forks.
    pub(super) fn missing(&self, head: &DumpRoom) -> u64 {
        let missing = match (head.earlier_events, self.first) {
            (Some(known), _) => known,
            (None, Some((depth, false))) => depth.saturating_mul(2),
            (None, _) => 0,
        };
        if missing == 0 { 0 } else { missing.saturating_add(MARGIN).min(MOST_RESERVED) }
    }
}

/// Whether this is the room's first event, which alone has no state before it.
pub(super) fn is_first(event: &Event) -> bool {
    event.is_create() && event.prev_events.is_empty()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn head(members: &serde_json::Value) -> DumpRoom {
        let mut head = json!({"room_id": "!room:own.test", "room_version": "10"});
        let members = members.as_object().unwrap().clone();
        head.as_object_mut().unwrap().extend(members);
        serde_json::from_value(head).unwrap()
    }

    #[test]
    fn room_is_left_for_as_many_events_as_may_be_missing() {
        let missing = |earlier: Option<u64>, first| {
            let head = head(&json!({"earlier_events": earlier}));
            FirstPass { first, ..FirstPass::default() }.missing(&head)
        };
        let cases = [
            // What the source knows outweighs depth.
            (missing(Some(0), Some((50, false))), 0),
            (missing(Some(7), Some((50, false))), 7 + MARGIN),
            // Otherwise depth tells, twice for the forks; nothing is before the create event.
            (missing(None, Some((50, false))), 100 + MARGIN),
            (missing(None, Some((1, true))), 0),
            (missing(None, None), 0),
            // Anybody can send any depth.
            (missing(None, Some((u64::MAX, false))), MOST_RESERVED),
            (missing(Some(u64::MAX), None), MOST_RESERVED),
        ];
        let (found, expected): (Vec<_>, Vec<_>) = cases.into_iter().unzip();
        assert_eq!(found, expected);
    }

    const CREATE: &str = "$create";
    const SHOWN: &str = "$visibility";

    /// A pass over a room with one state, which some events have before them, whose create event can be stored.
    fn pass() -> FirstPass {
        let state = json!({"id": 1, "set": [
            ["m.room.create", "", CREATE], ["m.room.history_visibility", "", SHOWN],
        ]});
        let mut pass = FirstPass::default();
        pass.state(&serde_json::from_value(state).unwrap());
        pass.creates.insert(hash(CREATE));
        let visibility = SHOWN.try_into().unwrap();
        pass.numbering.add_outlier(visibility);
        pass.numbering.note_key(visibility, VISIBILITY, "");
        pass.used_states.insert(1);
        pass
    }

    #[test]
    fn a_room_without_a_state_that_can_be_kept_is_left_out() {
        let with = |change: &dyn Fn(&mut FirstPass)| {
            let mut pass = pass();
            change(&mut pass);
            pass.obstacle(&head(&json!({"current_state": 1}))).map_or("none", |reason| reason.code)
        };
        let found = [
            with(&|_| {}),
            with(&|pass| pass.states.clear()),
            with(&|pass| pass.creates.clear()),
            with(&|pass| pass.creates = [hash("$other")].into()),
            with(&|pass| pass.numbering.remove(SHOWN.try_into().unwrap())),
            with(&|pass| pass.used_states.clear()),
        ];
        let expected = [
            "none",
            "state-missing",
            "create-event-missing",
            "state-incomplete",
            "no-timeline",
            "no-timeline",
        ];
        assert_eq!(found, expected);
        let without = pass().obstacle(&head(&json!({}))).map(|reason| reason.code);
        assert_eq!(without, Some("state-missing"));
    }

    #[test]
    fn states_are_used_that_ascend_and_have_a_base() {
        let mut pass = FirstPass::default();
        for state in [
            json!({"id": 1}),
            json!({"id": 3, "base": 1}),
            json!({"id": 2}),
            json!({"id": 4, "base": 9}),
            json!({"id": 5, "base": 1}),
            json!({"id": 5, "base": 3}),
        ] {
            pass.state(&serde_json::from_value(state).unwrap());
        }
        // Each with the last one that is based on it.
        assert_eq!(pass.states, BTreeMap::from([(1, 5), (3, 0), (5, 0)]));
    }
}
