//! The last readings of a room: every row.

use std::collections::{BTreeMap, BTreeSet};

use ruma::{EventId, OwnedEventId, OwnedRoomId, room_version_rules::RoomVersionRules};

use super::{
    Item, RoomSource, Sections,
    first_pass::{self, Survey},
    lazy_event::{Known, Parser},
    membership::Members,
    numbering::Slot,
    parse_ahead,
    remote_receipts::RemoteReceipts,
    states::States,
    unsigned::Additions,
};
use crate::{
    conduit::schema::{layout::Part, pdu_id::PduCount, trees},
    counted::counted,
    dump::format::{DumpEvent, DumpRoom, DumpState},
    findings::{Finding, Severity},
    import::{
        Import, ImportError,
        events::{
            event::{Event, Unsigned},
            timeline_rows::{Replaced, TimelineEvent, relate},
        },
        rooms::hidden::{Hidden, Place, hide},
    },
    tally::{DUPLICATE_EVENT, Kind},
};

/// Writes a room; `None` if its states turn out not to be good enough, with nothing written that makes it a room.
pub(super) fn write(
    import: &mut Import<'_>,
    source: &dyn RoomSource,
    parser: &Parser<'_>,
    mut survey: Survey,
) -> Result<Option<OwnedRoomId>, ImportError> {
    let head = source.head();
    let Some(rules) = &parser.rules else { return Ok(None) };
    let server_name = import.server_name.clone();
    let rows = &mut import.rows;
    let states = States::new(head.current_state, &server_name, rows)?;
    let short_room = rows.next();
    rows.reserve(survey.missing(head));
    survey.index.number(rows);
    let mut writer = Writer {
        head,
        rules,
        hidden: None,
        short_room,
        members: Members::new(head, &server_name),
        extremities: head.forward_extremities.iter().map(|id| &**id).collect(),
        survey,
        states,
        additions: Additions::default(),
        kept: BTreeMap::new(),
        last_state: 0,
        next_outlier: 0,
        next_timeline: 0,
        last_event: None,
        receipts: RemoteReceipts::default(),
    };
    source.read(Sections::States, &mut |item| {
        if let Item::State(state) = item {
            writer.state(&state, import)?;
        }
        Ok(true)
    })?;
    if !writer.states.suffice(&writer.survey) {
        return Ok(None);
    }
    writer.additions = Additions::collect(source, parser, &writer.survey, &writer.states)?;
    let prepare = |event: &Known| event.parse(parser);
    parse_ahead::read(source, Sections::Events, prepare, |item| match item {
        Item::State(_) => Ok(()),
        Item::Outlier(event) => writer.outlier(&event, parser, import),
        Item::Timeline(event) => writer.timeline(&event, parser, import),
        Item::Receipt(receipt) => {
            writer.receipts.add(receipt, &writer.survey.index, import);
            Ok(())
        }
    })?;
    writer.finish(import)?;
    Ok(Some(head.room_id.clone()))
}

/// Where an event is written. Its slot may promise a place in the timeline that its state does not allow.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Written {
    Outside,
    InTimeline,
}

/// A room under way.
struct Writer<'a> {
    head: &'a DumpRoom,
    rules: &'a RoomVersionRules,
    /// States that hide events; none until there is something to hide.
    hidden: Option<Hidden>,
    short_room: u64,
    members: Members<'a>,
    extremities: BTreeSet<&'a EventId>,
    survey: Survey,
    states: States,
    additions: Additions,
    /// State events that later ones replace, by short event id, until the last of these is written.
    kept: BTreeMap<u64, Replaced>,
    last_state: u64,
    next_outlier: u64,
    next_timeline: u64,
    /// The event written last into the timeline.
    last_event: Option<OwnedEventId>,
    receipts: RemoteReceipts,
}

impl Writer<'_> {
    fn state(&mut self, state: &DumpState, import: &mut Import<'_>) -> Result<(), ImportError> {
        import.tally.read(Kind::State, 1);
        if state.id <= self.last_state || !self.survey.states.contains_key(&state.id) {
            let item = format!("{} of {}", state.id, self.head.room_id);
            let detail = "it differs from a state that the dump hasn't; dump again";
            import.tally.skip(Kind::State, item, "state-base-missing", detail);
            return Ok(());
        }
        self.last_state = state.id;
        import.tally.written(Kind::State, 1);
        self.states.add(state, &self.survey, &mut import.rows)
    }

    fn outlier(
        &mut self,
        event: &Known,
        parser: &Parser<'_>,
        import: &mut Import<'_>,
    ) -> Result<(), ImportError> {
        import.tally.read(Kind::Outlier, 1);
        let skip = |import: &mut Import<'_>, reason, detail: &str| {
            import.tally.skip(Kind::Outlier, event.event_id.as_str(), reason, detail);
            Ok(())
        };
        let slot = self.survey.index.get(&event.event_id);
        if matches!(slot, Some(Slot::Timeline(_))) {
            return skip(import, "also-in-timeline", "it is imported as part of the timeline");
        }
        let parsed = match event.parsed(parser) {
            Ok(parsed) => parsed,
            Err((reason, detail)) => {
                self.survey.index.remove(&event.event_id);
                return skip(import, reason, detail);
            }
        };
        match slot {
            Some(slot @ Slot::Outlier(number)) if number >= self.next_outlier => {
                self.write_outlier(parsed, event, slot, import)?;
                import.tally.written(Kind::Outlier, 1);
                Ok(())
            }
            _ => skip(import, DUPLICATE_EVENT, "the dump has it twice"),
        }
    }

    fn timeline(
        &mut self,
        event: &Known,
        parser: &Parser<'_>,
        import: &mut Import<'_>,
    ) -> Result<(), ImportError> {
        import.tally.read(Kind::TimelineEvent, 1);
        let skip = |import: &mut Import<'_>, reason, detail: &str| {
            import.tally.skip(Kind::TimelineEvent, event.event_id.as_str(), reason, detail);
            Ok(())
        };
        let slot = self.survey.index.get(&event.event_id);
        let parsed = match event.parsed(parser) {
            Ok(parsed) => parsed,
            Err((reason, detail)) => {
                self.survey.index.remove(&event.event_id);
                return skip(import, reason, detail);
            }
        };
        let before = event.state_before.and_then(|state| self.states.hash(state));
        let is_first = first_pass::is_first(parsed);
        match slot {
            Some(slot @ Slot::Timeline(number)) if number >= self.next_timeline => {
                self.next_timeline = number.saturating_add(1);
                if before.is_some() || is_first {
                    let before = before.filter(|_| !is_first);
                    self.write_timeline(parsed, event, slot, before, import)?;
                    import.tally.written(Kind::TimelineEvent, 1);
                    return Ok(());
                }
                if parsed.state_key.is_some() {
                    self.write_outlier(parsed, event, slot, import)?;
                }
                self.survey.index.remove(&event.event_id);
            }
            Some(slot @ Slot::Outlier(number)) if number >= self.next_outlier => {
                self.write_outlier(parsed, event, slot, import)?;
            }
            Some(Slot::Timeline(_)) => {
                return skip(import, DUPLICATE_EVENT, "the dump has it twice");
            }
            Some(Slot::Outlier(_)) | None => {}
        }
        skip(
            import,
            "no-state-before",
            "without the state before it, Conduit would show it to everybody; if it is a state event, it still counts as such",
        )
    }

    /// Writes what outliers and timeline events have in common. Gives the short event id.
    fn write_known(
        &mut self,
        event: &Event,
        dumped: &DumpEvent,
        slot: Slot,
        place: Written,
        import: &mut Import<'_>,
    ) -> Result<u64, ImportError> {
        import.erased = import.erased.saturating_add(u64::from(dumped.erased));
        let rows = &mut import.rows;
        let short = self.survey.index.short(slot);
        let id = Part::Text(event.id.as_str());
        rows.put(&trees::EVENTID_SHORTEVENTID, &[id], &[Part::U64(short)])?;
        rows.put(&trees::SHORTEVENTID_EVENTID, &[Part::U64(short)], &[id])?;
        if let Some(state_key) = &event.state_key {
            let key = rows.short_state_key(&event.kind, state_key)?;
            let is_current = self.states.is_current(key, slot, &self.survey);
            // What is outside of the timeline has no count; its short id is a number of the same counter.
            let in_timeline = place == Written::InTimeline;
            let count = self.survey.index.count_of(slot).filter(|_| in_timeline).unwrap_or(short);
            self.members.event(event, is_current.then_some(count), rows)?;
            if self.states.replacements.contains_key(&short) {
                let kept = Replaced {
                    content: event.content().to_owned(),
                    sender: event.sender.to_string(),
                };
                self.kept.insert(short, kept);
            }
        }
        Ok(short)
    }

    fn write_outlier(
        &mut self,
        event: &Event,
        dumped: &DumpEvent,
        slot: Slot,
        import: &mut Import<'_>,
    ) -> Result<(), ImportError> {
        if let Slot::Outlier(number) = slot {
            self.next_outlier = number.saturating_add(1);
        }
        let short = self.write_known(event, dumped, slot, Written::Outside, import)?;
        let state = self.hidden_state(event, slot, import)?;
        hide(short, state, &mut import.rows)?;
        let mut unsigned = Unsigned::default();
        if let Some(because) = self.additions.redaction(dumped)? {
            unsigned.add("redacted_because", because);
        }
        let key = [Part::Text(event.id.as_str())];
        let tree = &trees::EVENTID_OUTLIERPDU;
        import.rows.put_raw(tree, tree.key(&key), event.stored(&unsigned))?;
        if dumped.soft_failed {
            import.rows.mark(&trees::SOFTFAILEDEVENTIDS, &key)?;
        }
        Ok(())
    }

    /// The state that keeps an event outside of the timeline from being read.
    fn hidden_state(
        &mut self,
        event: &Event,
        slot: Slot,
        import: &mut Import<'_>,
    ) -> Result<u64, ImportError> {
        let rows = &mut import.rows;
        let hidden = if let Some(hidden) = self.hidden {
            hidden
        } else {
            let place = Place {
                room: &self.head.room_id,
                rules: self.rules,
                server_name: &import.server_name,
                key: &import.signer,
            };
            let (current, own_members) = (&self.states.current, &self.states.own_members);
            *self.hidden.insert(Hidden::write(&place, current, own_members, rows)?)
        };
        let Some(state_key) = event.state_key.as_deref() else { return Ok(hidden.outside) };
        let key = rows.short_state_key(&event.kind, state_key)?;
        let is_own_member = self.states.own_members.contains(&key)
            && self.states.is_current(key, slot, &self.survey);
        Ok(if is_own_member { hidden.own_members } else { hidden.outside })
    }

    fn write_timeline(
        &mut self,
        event: &Event,
        dumped: &DumpEvent,
        slot: Slot,
        before: Option<u64>,
        import: &mut Import<'_>,
    ) -> Result<(), ImportError> {
        let short = self.write_known(event, dumped, slot, Written::InTimeline, import)?;
        let count = self.survey.index.count_of(slot).unwrap_or(short);
        let rows = &mut import.rows;
        let replaced = self.replaced(short)?;
        let redaction = self.additions.redaction(dumped)?;
        let sender = &event.sender;
        let mut unsigned = Unsigned::of(sender, redaction, replaced, &import.server_name);
        if let Some((thread, latest)) = self.additions.thread(short)? {
            let root = PduCount::Normal(count).key(self.short_room);
            unsigned.add("m.relations", thread.write(sender, &latest, root, rows)?);
        }
        let timeline_event = TimelineEvent {
            event,
            short,
            room_id: &self.head.room_id,
            short_room: self.short_room,
            count: PduCount::Normal(count),
            state_before: before,
            unsigned,
        };
        let extremities = &self.extremities;
        timeline_event.write(|id| extremities.iter().any(|other| *other == id), rows)?;
        for target in event.relations.targets().filter_map(|id| self.survey.index.count(id)) {
            if target < count {
                relate(target, count, rows)?;
            }
        }
        self.last_event = Some(event.id.clone());
        Ok(())
    }

    /// The state event that one with this short id replaces.
    fn replaced(&mut self, short: u64) -> Result<Option<Replaced>, ImportError> {
        let Some(old) = self.states.replaced.remove(&short) else { return Ok(None) };
        match self.kept(old) {
            None => self.additions.replaced(old),
            kept => Ok(kept),
        }
    }

    /// A replaced event that came before those that replace it; forgotten after its last use.
    fn kept(&mut self, short: u64) -> Option<Replaced> {
        let uses = self.states.replacements.get_mut(&short)?;
        *uses = uses.saturating_sub(1);
        if *uses > 0 {
            return self.kept.get(&short).cloned();
        }
        self.states.replacements.remove(&short);
        self.kept.remove(&short)
    }

    fn finish(self, import: &mut Import<'_>) -> Result<(), ImportError> {
        let rows = &mut import.rows;
        let room = Part::Text(self.head.room_id.as_str());
        rows.put(&trees::ROOMID_SHORTROOMID, &[room], &[Part::U64(self.short_room)])?;
        let current = Part::U64(self.states.current.short_state_hash());
        rows.put(&trees::ROOMID_SHORTSTATEHASH, &[room], &[current])?;
        let mut leaves = self.extremities;
        leaves.retain(|id| self.survey.index.count(id).is_some());
        if leaves.is_empty() {
            leaves.extend(self.last_event.as_deref());
        }
        for leaf in leaves {
            let leaf = Part::Text(leaf.as_str());
            rows.put(&trees::ROOMID_PDULEAVES, &[room, leaf], &[leaf])?;
        }
        self.receipts.write(&self.head.room_id, rows, &mut import.tally)?;
        let (servers, in_state) = self.members.finish(rows, &mut import.tally)?;
        import.servers.extend(servers);
        import.in_states.extend(in_state);
        if let Some(first) = self.states.missing.first() {
            import.findings.push(Finding::import(
                Severity::Warning,
                "I008",
                self.head.room_id.as_str(),
                format!(
                    "{} not in the dump, can't be stored, or not of its key, {first} among them",
                    counted(self.states.missing.len(), ["event of its state is", "events of its state are"])
                ),
                "the state goes without them; if that matters, look for the events in the report and dump again",
            ));
        }
        Ok(())
    }
}
