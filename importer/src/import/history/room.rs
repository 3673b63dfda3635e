//! What is known of a room's timeline while events are put before it.

use std::collections::{BTreeMap, BTreeSet};

use conduit_backfill::{host::GivenUp, verdict::Verdict};
use ruma::{EventId, OwnedEventId, RoomId, RoomVersionId, room_version_rules::RoomVersionRules};

use super::{HistoryError, lookup::Lookup};
use crate::{
    conduit::{
        canonical_json::{Canonical, Object},
        schema::{pdu_id::PduCount, trees},
    },
    import::events::event::Relations,
};

/// An event that relates to one which is not in the timeline yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Relating {
    pub(super) count: u64,
    /// Whether the other one is the root of its thread.
    pub(super) in_thread: bool,
}

/// A room's timeline, seen from its beginning.
#[derive(Debug)]
pub(super) struct RoomTimeline {
    pub(super) short: u64,
    pub(super) version: RoomVersionId,
    pub(super) rules: RoomVersionRules,
    /// Counts below this and above the short room id are free for events before the first one.
    free_until: u64,
    pub(super) first: Option<PduCount>,
    /// Events that others name and that are neither in the timeline nor given up.
    missing: BTreeSet<OwnedEventId>,
    /// The redactions of each event, the oldest first.
    redactions: BTreeMap<OwnedEventId, Vec<(PduCount, OwnedEventId)>>,
    /// What relates to events that are not in the timeline, newest last.
    pub(super) awaited: BTreeMap<OwnedEventId, Vec<Relating>>,
    given_up: BTreeMap<OwnedEventId, Verdict>,
    /// The state that hides events outside of the timeline, once it was needed.
    pub(super) hidden: Option<u64>,
}

impl RoomTimeline {
    /// Reads the whole timeline, which happens once for each room; `None` if there is no such room.
    pub(super) fn read(
        id: &RoomId,
        admin_room: Option<u64>,
        lookup: &Lookup<'_>,
    ) -> Result<Option<Self>, HistoryError> {
        let short = lookup.number(&trees::ROOMID_SHORTROOMID, id.as_str().as_bytes())?;
        let (Some(short), Some(version)) = (short, lookup.version(id)?) else { return Ok(None) };
        let rules = version.rules().ok_or_else(|| HistoryError::Damaged {
            what: format!("the version of {id}, {version},"),
        })?;
        let mut room = Self {
            short,
            version,
            rules,
            free_until: if admin_room.is_some_and(|admin_room| short < admin_room) {
                lookup.free_until(short)?.unwrap_or_default()
            } else {
                0
            },
            first: lookup.first(short)?,
            missing: BTreeSet::new(),
            redactions: BTreeMap::new(),
            awaited: BTreeMap::new(),
            given_up: lookup.given_up(id)?,
            hidden: None,
        };
        for row in lookup.0.scan(&trees::PDUID_PDU, &short.to_be_bytes())? {
            let (key, value) = row?;
            let (Some((_, count)), Ok(json)) =
                (PduCount::read(&key), serde_json::from_slice::<Object<'_>>(&value))
            else {
                continue;
            };
            room.add(&json, count, |event| lookup.count(id, event).map(|c| c.is_some()))?;
        }
        let withheld = room.given_up.iter().filter(|(_, why)| why.reason == GivenUp::Withheld);
        let withheld: Vec<_> = withheld.map(|(event, _)| event.clone()).collect();
        for event in withheld {
            room.withheld(id, &event, lookup)?;
        }
        Ok(Some(room))
    }

    /// Looks at an event of the timeline; `is_there` says whether another one is in it.
    pub(super) fn add(
        &mut self,
        json: &Object<'_>,
        count: PduCount,
        is_there: impl Fn(&EventId) -> Result<bool, HistoryError>,
    ) -> Result<(), HistoryError> {
        for event in prev_events(json) {
            self.need(event, &is_there)?;
        }
        let id = json.get("event_id").and_then(event_id);
        if let (Some(id), Some(target)) = (id, self.redacts(json)) {
            let redactions = self.redactions.entry(target.to_owned()).or_default();
            let place = redactions.partition_point(|(other, _)| *other < count);
            redactions.insert(place, (count, id.to_owned()));
        }
        let content = json.get("content").and_then(Canonical::as_object);
        let (Some(count), Some(content)) = (count.normal(), content) else { return Ok(()) };
        let relations = Relations::of(content);
        for target in relations.targets() {
            if !is_there(target)? {
                let in_thread = relations.thread() == Some(target);
                let relating = Relating { count, in_thread };
                self.awaited.entry(target.to_owned()).or_default().push(relating);
            }
        }
        Ok(())
    }

    /// What an event redacts.
    pub(super) fn redacts<'a>(&self, json: &'a Object<'_>) -> Option<&'a EventId> {
        if json.text("type")? != "m.room.redaction" {
            return None;
        }
        let in_content = self.rules.redaction.content_field_redacts;
        let place = if in_content { json.get("content")?.as_object()? } else { json };
        event_id(place.get("redacts")?)
    }

    /// The redactions of an event in the timeline, the newest first.
    pub(super) fn redactions_of(&self, event: &EventId) -> impl Iterator<Item = &OwnedEventId> {
        let redactions = self.redactions.get(event).map(Vec::as_slice).unwrap_or_default();
        redactions.iter().rev().map(|(_, redaction)| redaction)
    }

    /// What [`conduit_backfill::host::Host::missing`] gives at `now`.
    pub(super) fn missing(&self, now: u64) -> BTreeSet<OwnedEventId> {
        let due = self.given_up.iter().filter(|(_, verdict)| verdict.is_due(now));
        self.missing.iter().chain(due.map(|(event, _)| event)).cloned().collect()
    }

    /// What is known of the search for an event.
    pub(super) fn verdict(&self, event: &EventId) -> Option<Verdict> {
        self.given_up.get(event).copied()
    }

    /// Notes that an event is named by another one.
    fn need(
        &mut self,
        event: &EventId,
        is_there: &impl Fn(&EventId) -> Result<bool, HistoryError>,
    ) -> Result<(), HistoryError> {
        if !self.missing.contains(event) && !self.given_up.contains_key(event) && !is_there(event)?
        {
            self.missing.insert(event.to_owned());
        }
        Ok(())
    }

    /// The event is in the timeline from now on.
    pub(super) fn is_there(&mut self, event: &EventId) {
        self.missing.remove(event);
        self.given_up.remove(event);
    }

    pub(super) fn given_up(
        &mut self,
        room: &RoomId,
        event: &EventId,
        verdict: Verdict,
        lookup: &Lookup<'_>,
    ) -> Result<(), HistoryError> {
        self.missing.remove(event);
        self.given_up.insert(event.to_owned(), verdict);
        if verdict.reason == GivenUp::Withheld {
            self.withheld(room, event, lookup)?;
        }
        Ok(())
    }

    /// Asks for what is before an event that nobody sees.
    fn withheld(
        &mut self,
        room: &RoomId,
        event: &EventId,
        lookup: &Lookup<'_>,
    ) -> Result<(), HistoryError> {
        let json = lookup.event(room, event)?.unwrap_or_default();
        for previous in prev_events(&Object::from(&json)) {
            self.need(previous, &|event| lookup.count(room, event).map(|count| count.is_some()))?;
        }
        Ok(())
    }

    /// The count before all others, from what is free for the room, or by `next`.
    pub(super) fn step_back(&mut self, next: impl FnOnce() -> u64) -> PduCount {
        let free = self.free_until.checked_sub(1).filter(|count| *count > self.short);
        self.free_until = free.unwrap_or_default();
        let count = free.map_or_else(|| PduCount::Backfilled(next()), PduCount::Normal);
        self.first = Some(count);
        count
    }
}

fn prev_events<'a>(json: &'a Object<'_>) -> impl Iterator<Item = &'a EventId> {
    let ids = json.get("prev_events").and_then(Canonical::as_array);
    ids.unwrap_or_default().iter().filter_map(event_id)
}

fn event_id<'a>(value: &'a Canonical<'_>) -> Option<&'a EventId> {
    <&EventId>::try_from(value.as_text()?).ok()
}
