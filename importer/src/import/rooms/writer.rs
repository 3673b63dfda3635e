//! The final passes over a room, which write all its rows.

use std::collections::{BTreeMap, BTreeSet};

use ruma::{EventId, OwnedEventId};

use super::{
    ImportedRooms,
    first_pass::{self, FirstPass},
    hidden::{Hidden, RoomSigner},
    lazy_event::{LazyEvent, Parser},
    left_rooms,
    membership::Members,
    numbering::Slot,
    parse_ahead,
    remote_receipts::RemoteReceipts,
    source::{Item, RoomSource, Sections},
    states::States,
    unsigned::UnsignedParts,
};
use crate::{
    conduit::schema::{
        dialect::Dialect,
        pdu_id::PduCount,
        shapes::{self, Room, RoomEvent, ShortRoom, ShortStateHash},
        trees,
    },
    counted::counted,
    dump::format::{DumpEvent, DumpRoom},
    findings::{Finding, codes},
    import::{
        ImportError,
        context::Context,
        events::{
            event::{Event, Unsigned},
            timeline_rows::{Replaced, TimelineEvent, relate, write_state_before},
        },
        row_writer::Rows,
        skip::SkipReason,
    },
    tally::{DUPLICATE_EVENT, Kind, Tally},
};

const TWICE: SkipReason = SkipReason::new(DUPLICATE_EVENT, "the dump has it twice");
const IN_TIMELINE: SkipReason =
    SkipReason::new("also-in-timeline", "it is imported as part of the timeline");
const NO_STATE_BEFORE: SkipReason = SkipReason::new(
    "no-state-before",
    "without the state before it, Conduit would show the event to everybody; a state event still counts in the room's state",
);

/// Writes a room; `None` if its states turn out not to be good enough, with nothing written that makes it a room.
pub(super) fn write(
    source: &dyn RoomSource,
    parser: &Parser<'_>,
    mut first_pass: FirstPass,
    context: &Context,
    rows: &mut Rows<'_>,
    tally: &mut Tally,
) -> Result<Option<ImportedRooms>, ImportError> {
    let head = source.head();
    let mut states = States::new(head.current_state, &context.server_name, rows)?;
    let short_room = rows.next();
    rows.reserve(first_pass.missing(head));
    first_pass.numbering.number(rows);
    states.write(source, &first_pass, rows, tally)?;
    if !states.suffice(&first_pass) {
        return Ok(None);
    }
    let unsigned_parts = UnsignedParts::collect(source, parser, &first_pass, &states)?;
    let mut writer = Writer {
        head,
        parser,
        context,
        rows,
        tally,
        short_room,
        first_pass,
        states,
        unsigned_parts,
        members: Members::new(head, &context.server_name),
        extremities: head.forward_extremities.iter().map(|id| &**id).collect(),
        receipts: RemoteReceipts::default(),
        hidden: None,
        kept: BTreeMap::new(),
        next_outlier: 0,
        next_timeline: 0,
        last_event: None,
        erased: 0,
    };
    let prepare = |event: &LazyEvent| event.parse(parser);
    parse_ahead::read(source, Sections::Events, prepare, |item| match item {
        Item::State(_) => Ok(()),
        Item::Outlier(event) => writer.outlier(&event),
        Item::Timeline(event) => writer.timeline(&event),
        Item::Receipt(receipt) => {
            let Writer { first_pass, context, tally, receipts, .. } = &mut writer;
            receipts.add(receipt, &first_pass.numbering, &context.server_name, tally);
            Ok(())
        }
    })?;
    writer.finish().map(Some)
}

/// Where an event is written. Its slot may promise a place in the timeline that its state does not allow.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Section {
    Outliers,
    Timeline,
}

/// Writes the events of a room, outliers first, and at the end what makes them a room.
struct Writer<'a, 's> {
    head: &'a DumpRoom,
    parser: &'a Parser<'a>,
    context: &'a Context,
    rows: &'a mut Rows<'s>,
    tally: &'a mut Tally,
    short_room: u64,
    first_pass: FirstPass,
    states: States,
    unsigned_parts: UnsignedParts,
    members: Members<'a>,
    extremities: BTreeSet<&'a EventId>,
    receipts: RemoteReceipts,
    /// States that hide events; none until there is something to hide.
    hidden: Option<Hidden>,
    /// State events that later ones replace, by short event id, until the last of these is written.
    kept: BTreeMap<u64, Replaced>,
    next_outlier: u64,
    next_timeline: u64,
    /// The last event that was written into the timeline.
    last_event: Option<OwnedEventId>,
    /// Number of events without their content, as their senders were erased.
    erased: u64,
}

impl Writer<'_, '_> {
    fn outlier(&mut self, event: &LazyEvent) -> Result<(), ImportError> {
        self.tally.read(Kind::Outlier, 1);
        let slot = self.first_pass.numbering.get(&event.event_id);
        let reason = match (slot, event.parsed(self.parser)) {
            (Some(Slot::Timeline(_)), _) => IN_TIMELINE,
            (_, Err(reason)) => {
                self.first_pass.numbering.remove(&event.event_id);
                reason.clone()
            }
            (Some(slot @ Slot::Outlier(number)), Ok(parsed)) if number >= self.next_outlier => {
                self.write_outlier(parsed, event, slot)?;
                self.tally.written(Kind::Outlier, 1);
                return Ok(());
            }
            _ => TWICE,
        };
        self.tally.leave(Kind::Outlier, event.event_id.as_str(), reason);
        Ok(())
    }

    fn timeline(&mut self, event: &LazyEvent) -> Result<(), ImportError> {
        self.tally.read(Kind::TimelineEvent, 1);
        let reason = match event.parsed(self.parser) {
            Ok(parsed) => self.timeline_event(parsed, event)?,
            Err(reason) => {
                self.first_pass.numbering.remove(&event.event_id);
                Some(reason.clone())
            }
        };
        match reason {
            Some(reason) => self.tally.leave(Kind::TimelineEvent, event.event_id.as_str(), reason),
            None => self.tally.written(Kind::TimelineEvent, 1),
        }
        Ok(())
    }

    /// Writes an event into the timeline, or says why not. A state event without a state before it is written outside.
    fn timeline_event(
        &mut self,
        event: &Event,
        dumped: &DumpEvent,
    ) -> Result<Option<SkipReason>, ImportError> {
        let before = dumped.state_before.and_then(|state| self.states.hash(state));
        let is_first = first_pass::is_first(event);
        match self.first_pass.numbering.get(&event.id) {
            Some(slot @ Slot::Timeline(number)) if number >= self.next_timeline => {
                self.next_timeline = number + 1;
                if before.is_some() || is_first {
                    let before = before.filter(|_| !is_first);
                    self.write_timeline(event, dumped, slot, before)?;
                    return Ok(None);
                }
                if event.state_key.is_some() {
                    self.write_outlier(event, dumped, slot)?;
                }
                self.first_pass.numbering.remove(&event.id);
            }
            Some(slot @ Slot::Outlier(number)) if number >= self.next_outlier => {
                self.write_outlier(event, dumped, slot)?;
            }
            Some(Slot::Timeline(_)) => return Ok(Some(TWICE)),
            Some(Slot::Outlier(_)) | None => {}
        }
        Ok(Some(NO_STATE_BEFORE))
    }

    /// Writes what outliers and timeline events have in common. Gives the short event id.
    fn register(
        &mut self,
        event: &Event,
        dumped: &DumpEvent,
        slot: Slot,
        section: Section,
    ) -> Result<u64, ImportError> {
        self.erased += u64::from(dumped.erased);
        let short = self.first_pass.numbering.short(slot);
        self.rows.name_event(&event.id, short)?;
        let Some(state_key) = &event.state_key else { return Ok(short) };
        let key = self.rows.short_state_key(&event.kind, state_key)?;
        let is_current = self.states.is_current(key, slot, &self.first_pass);
        // What is outside of the timeline has no count; its short id is a number of the same counter.
        let in_timeline = section == Section::Timeline;
        let count = self.first_pass.numbering.count_of(slot).filter(|_| in_timeline);
        let current = is_current.then_some(count.unwrap_or(short));
        self.members.event(event, current, self.rows)?;
        if self.states.replacements.contains_key(&short) {
            let content = event.content().to_owned();
            self.kept.insert(short, Replaced { content, sender: event.sender.to_string() });
        }
        Ok(short)
    }

    fn write_outlier(
        &mut self,
        event: &Event,
        dumped: &DumpEvent,
        slot: Slot,
    ) -> Result<(), ImportError> {
        if let Slot::Outlier(number) = slot {
            self.next_outlier = number + 1;
        }
        let short = self.register(event, dumped, slot, Section::Outliers)?;
        let state = self.hidden_state(event, slot)?;
        write_state_before(short, state, self.rows)?;
        let mut unsigned = Unsigned::default();
        if let Some(because) = self.unsigned_parts.redaction(dumped)? {
            unsigned.add("redacted_because", because);
        }
        let key = event.id.as_bytes().to_vec();
        self.rows.put_raw(&trees::EVENTID_OUTLIERPDU, key, event.stored(&unsigned))?;
        if dumped.soft_failed {
            let id = shapes::Event { event: event.id.as_str() };
            self.rows.mark(&trees::SOFTFAILEDEVENTIDS, &id)?;
        }
        Ok(())
    }

    /// The state that keeps an event outside of the timeline from being read.
    fn hidden_state(&mut self, event: &Event, slot: Slot) -> Result<u64, ImportError> {
        let hidden = if let Some(hidden) = self.hidden {
            hidden
        } else {
            let signer = RoomSigner {
                room: &self.head.room_id,
                rules: &self.parser.rules,
                server_name: &self.context.server_name,
                key: &self.context.signer,
            };
            let (current, own_members) = (&self.states.current, &self.states.own_members);
            *self.hidden.insert(Hidden::write(&signer, current, own_members, self.rows)?)
        };
        let Some(state_key) = event.state_key.as_deref() else { return Ok(hidden.outside) };
        let key = self.rows.short_state_key(&event.kind, state_key)?;
        let is_own_member = self.states.own_members.contains(&key)
            && self.states.is_current(key, slot, &self.first_pass);
        Ok(if is_own_member { hidden.own_members } else { hidden.outside })
    }

    fn write_timeline(
        &mut self,
        event: &Event,
        dumped: &DumpEvent,
        slot: Slot,
        state_before: Option<u64>,
    ) -> Result<(), ImportError> {
        let short = self.register(event, dumped, slot, Section::Timeline)?;
        let numbering = &self.first_pass.numbering;
        let number = numbering.count_of(slot).unwrap_or(short);
        let count = PduCount::Normal(number);
        let targets = event.relations.targets().filter_map(|id| numbering.count(id));
        for target in targets.filter(|target| *target < number) {
            relate(target, number, self.rows)?;
        }
        let replaced = self.replaced(short)?;
        let redaction = self.unsigned_parts.redaction(dumped)?;
        let server_name = &self.context.server_name;
        let mut unsigned = Unsigned::of(&event.sender, redaction, replaced, server_name);
        if let Some((thread, latest)) = self.unsigned_parts.thread(short)? {
            let root = count.key(self.short_room);
            let summary = thread.write(&event.sender, &latest, root, self.rows)?;
            unsigned.add("m.relations", summary);
        }
        let (room_id, short_room) = (&*self.head.room_id, self.short_room);
        let extremities = &self.extremities;
        TimelineEvent { event, short, room_id, short_room, count, state_before, unsigned }
            .write(|id| extremities.iter().any(|other| *other == id), self.rows)?;
        self.last_event = Some(event.id.clone());
        Ok(())
    }

    /// The state event that one with this short id replaces.
    fn replaced(&mut self, short: u64) -> Result<Option<Replaced>, ImportError> {
        let Some(old) = self.states.replaced.remove(&short) else { return Ok(None) };
        match self.kept(old) {
            None => self.unsigned_parts.replaced(old),
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

    /// Writes the rows that make the events a room.
    fn finish(self) -> Result<ImportedRooms, ImportError> {
        let Self { head, rows, tally, states, first_pass, .. } = self;
        let mut extremities: BTreeSet<&EventId> = self.extremities;
        let room = head.room_id.as_str();
        let short_room = ShortRoom { short_room: self.short_room };
        rows.put(&trees::ROOMID_SHORTROOMID, &Room { room }, &short_room)?;
        let current = ShortStateHash { short_state_hash: states.current.short_state_hash() };
        rows.put(&trees::ROOMID_SHORTSTATEHASH, &Room { room }, &current)?;
        extremities.retain(|id| first_pass.numbering.count(id).is_some());
        if extremities.is_empty() {
            extremities.extend(self.last_event.as_deref());
        }
        for extremity in extremities {
            let event = extremity.as_str();
            let key = RoomEvent { room, event };
            rows.put(&trees::ROOMID_PDULEAVES, &key, &shapes::Event { event })?;
        }
        self.receipts.write(&head.room_id, rows, tally)?;
        let (servers, users_in_states) = self.members.finish(rows, tally)?;
        Ok(ImportedRooms {
            ids: [head.room_id.clone()].into(),
            servers,
            users_in_states,
            erased: self.erased,
            left: match rows.dialect() {
                Dialect::Conduit => Vec::new(),
                Dialect::Continuwuity => left_rooms::of(head).collect(),
            },
            findings: missing_from_states(head, &states.missing).into_iter().collect(),
        })
    }
}

/// What the operator must know of events that are in states and can't be kept there.
fn missing_from_states(head: &DumpRoom, missing: &BTreeSet<OwnedEventId>) -> Option<Finding> {
    let first = missing.first()?;
    let number = counted(missing.len(), ["event of its state is", "events of its state are"]);
    let text =
        format!("{number} not in the dump, can't be stored, or not of its key, {first} among them");
    Some(codes::STATE_LOST.of(head.room_id.as_str(), text))
}
