//! The states of a room, from the dump's differences to Conduit's layers.

use std::collections::{BTreeMap, BTreeSet};

use ruma::OwnedEventId;

use super::{
    first_pass::FirstPass,
    numbering::{Numbering, Slot},
    source::{Item, RoomSource, Sections},
};
use crate::{
    dump::format::DumpState,
    import::{ImportError, events::state_layers::State, row_writer::Rows},
    tally::{Kind, Tally},
};

/// A state that others are based on, kept until the last of them is written.
#[derive(Clone, Debug, Default)]
struct BaseState {
    state: State,
    /// Whether its history visibility could not be kept.
    visibility_lost: bool,
}

/// The states of a room.
#[derive(Debug)]
pub(super) struct States {
    current_id: Option<u64>,
    server_name: String,
    create_key: u64,
    visibility_key: u64,
    /// Short state keys of member events of this server's users, of all states.
    pub(super) own_members: BTreeSet<u64>,
    live: BTreeMap<u64, BaseState>,
    /// The state added last.
    last: BaseState,
    /// Short state hashes by id, of states that events may have before them.
    hashes: BTreeMap<u64, u64>,
    /// The state event that an event replaces, by short event ids.
    pub(super) replaced: BTreeMap<u64, u64>,
    /// How many events replace one, by short event id.
    pub(super) replacements: BTreeMap<u64, u64>,
    /// Events that are in states and can't be stored, or belong elsewhere in a state.
    pub(super) missing: BTreeSet<OwnedEventId>,
    /// The present state.
    pub(super) current: State,
}

impl States {
    pub(super) fn new(
        current_id: Option<u64>,
        server_name: &str,
        rows: &mut Rows<'_>,
    ) -> Result<Self, ImportError> {
        Ok(Self {
            current_id,
            server_name: server_name.to_owned(),
            own_members: BTreeSet::new(),
            create_key: rows.short_state_key("m.room.create", "")?,
            visibility_key: rows.short_state_key("m.room.history_visibility", "")?,
            live: BTreeMap::new(),
            last: BaseState::default(),
            hashes: BTreeMap::new(),
            replaced: BTreeMap::new(),
            replacements: BTreeMap::new(),
            missing: BTreeSet::new(),
            current: State::default(),
        })
    }

    /// Writes all states of a room. One whose base is not in the dump is left out.
    pub(super) fn write(
        &mut self,
        source: &dyn RoomSource,
        first_pass: &FirstPass,
        rows: &mut Rows<'_>,
        tally: &mut Tally,
    ) -> Result<(), ImportError> {
        let mut last = 0;
        source.read(Sections::States, &mut |item| {
            let Item::State(state) = item else { return Ok(true) };
            tally.read(Kind::State, 1);
            if state.id > last && first_pass.states.contains_key(&state.id) {
                last = state.id;
                tally.written(Kind::State, 1);
                self.add(&state, first_pass, rows)?;
            } else {
                let item = format!("{} of {}", state.id, source.head().room_id);
                let detail = "its base state is missing from the dump; make a new dump";
                tally.skip(Kind::State, item, "state-base-missing", detail);
            }
            Ok(true)
        })
    }

    /// Writes a state.
    fn add(
        &mut self,
        dumped: &DumpState,
        first_pass: &FirstPass,
        rows: &mut Rows<'_>,
    ) -> Result<(), ImportError> {
        let id = dumped.id;
        let base = match dumped.base {
            Some(base) => self.live.get(&base).cloned().unwrap_or_default(),
            None => self.last.clone(),
        };
        let mut visibility_lost = dumped.base.is_some() && base.visibility_lost;
        let mut changes = BTreeMap::new();
        if dumped.base.is_none() {
            // A whole state: cheaper to store as a difference to the one before.
            changes.extend(base.state.entries().into_keys().map(|key| (key, None)));
        }
        for (kind, state_key) in &dumped.unset {
            let key = rows.short_state_key(kind, state_key)?;
            visibility_lost &= key != self.visibility_key;
            changes.insert(key, None);
        }
        for (kind, state_key, event) in &dumped.set {
            let key = rows.short_state_key(kind, state_key)?;
            let slot = first_pass.numbering.get_at(event, kind, state_key);
            if kind == "m.room.member"
                && state_key.split_once(':').is_some_and(|(_, name)| name == self.server_name)
            {
                self.own_members.insert(key);
            }
            if key == self.visibility_key {
                visibility_lost = slot.is_none();
            }
            changes.insert(key, slot.map(|slot| first_pass.numbering.short(slot)));
            if slot.is_none() {
                self.missing.insert(event.clone());
            }
        }
        let state = base.state.change(&changes, rows)?;
        if state.get(self.create_key).is_some() && !visibility_lost {
            self.hashes.insert(id, state.short_state_hash());
        }
        self.look_up(id, &state, first_pass);
        if self.current_id == Some(id) {
            self.current = state.clone();
        }
        self.last = BaseState { state, visibility_lost };
        let last_child = |id| first_pass.states.get(&id).copied().unwrap_or(0);
        if last_child(id) != 0 {
            self.live.insert(id, self.last.clone());
        }
        if let Some(base) = dumped.base.filter(|base| last_child(*base) == id) {
            self.live.remove(&base);
        }
        Ok(())
    }

    /// Finds what the events right after this state replace in it.
    fn look_up(&mut self, id: u64, state: &State, first_pass: &FirstPass) {
        let from = first_pass.before.partition_point(|(before, _, _)| *before < id);
        let events = first_pass.before.iter().skip(from).take_while(|(before, _, _)| *before == id);
        for (_, key, slot) in events {
            let short = first_pass.numbering.short(*slot);
            if let Some(old) = state.get(*key).filter(|old| *old != short) {
                self.replaced.insert(short, old);
                let uses = self.replacements.entry(old).or_default();
                *uses += 1;
            }
        }
    }

    /// Events that are replaced by earlier ones, by short event id.
    pub(super) fn replaced_later(&self, numbering: &Numbering) -> BTreeSet<u64> {
        let later = |short: &u64, old: &u64| old > short && numbering.is_of_timeline(*old);
        self.replaced.iter().filter(|(short, old)| later(short, old)).map(|(_, old)| *old).collect()
    }

    /// The short state hash of a state that may be the one before an event: it has a create event, and its history
    /// visibility, without which the event would be shown by the default rule.
    pub(super) fn hash(&self, id: u64) -> Option<u64> {
        self.hashes.get(&id).copied()
    }

    /// Whether the room has a present state, and at least one event that it can show.
    pub(super) fn suffice(&self, first_pass: &FirstPass) -> bool {
        self.current.get(self.create_key).is_some()
            && (first_pass.create_in_timeline
                || first_pass.used_states.iter().any(|state| self.hashes.contains_key(state)))
    }

    /// Whether an event is in the present state.
    pub(super) fn is_current(&self, key: u64, slot: Slot, first_pass: &FirstPass) -> bool {
        self.current.get(key) == Some(first_pass.numbering.short(slot))
    }
}
