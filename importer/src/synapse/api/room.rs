//! Rooms.
//!
//! A room is read once, page by page; states, timeline and outliers wait in memory (as differences) and in temporary
//! files until all is known that stands in the room's head. So a room that can't be read leaves no file.

mod event;
mod hidden;
mod members;
mod outliers;
mod recent;
mod resolve;
mod seen_by_users;
mod state_before;
mod state_tree;
mod timeline;

use std::collections::{BTreeMap, BTreeSet};

use ruma::{OwnedEventId, OwnedRoomId, OwnedUserId, RoomId};
use serde::Deserialize;
use serde_json::value::RawValue;

pub(super) use self::seen_by_users::{Seen, Sightings};
use self::{
    event::{Event, Version},
    outliers::Known,
    resolve::Pdus,
    state_before::Before,
    state_tree::{Entries, States},
    timeline::{Extremity, Page, Timeline},
};
use super::{ApiError, ApiSource, counter::Counter, spool::Spool};
use crate::{
    dump::{
        DumpWriter, History,
        format::{DumpEvent, DumpMember, DumpRemoteReceipt, DumpRoom},
    },
    source::SourceError,
    synapse::{
        SOFT_FAILED,
        erased::{Erased, Pruning},
    },
    tally::{Kind, Tally},
};

/// A room as the admin API lists it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct ListedRoom {
    pub(super) room_id: OwnedRoomId,
    version: Option<String>,
    #[serde(default)]
    public: bool,
    #[serde(default)]
    joined_local_members: u64,
}

/// A room while it is read.
struct Room<'a> {
    source: &'a mut ApiSource,
    id: &'a RoomId,
    version: Version,
    counter: Counter<'a>,
    /// A local user is joined: Synapse has the present state, and federates the room with itself.
    joined: bool,
    seen: BTreeMap<OwnedUserId, Seen>,
    states: States,
    /// The depth from which on the timeline is read.
    begin: u64,
    /// State after each timeline event.
    after: BTreeMap<OwnedEventId, u64>,
    /// State after the newest event read.
    latest: Option<u64>,
    /// States that something in the dump refers to.
    used: BTreeSet<u64>,
    /// States after forks, by the states that met there.
    resolved: BTreeMap<BTreeSet<u64>, u64>,
    /// The state that a user who left still sees, if it was looked at.
    left_state: Option<Entries>,
    /// Whether a state had to be guessed.
    guessed: bool,
    timeline: Spool<DumpEvent>,
    outliers: Spool<DumpEvent>,
    /// State events that were met, in the timeline or outside.
    known: BTreeMap<OwnedEventId, Known>,
    /// Events that have been asked for in vain.
    missing: BTreeSet<OwnedEventId>,
    /// Events that something refers to, looked for because the timeline did not show them.
    sought: BTreeSet<OwnedEventId>,
    /// Events that the dump must hold, in the timeline or as outliers.
    needed: BTreeSet<OwnedEventId>,
    /// Redactions by the event that they name.
    redactions: BTreeMap<OwnedEventId, Vec<Redaction>>,
    /// Events loaded to resolve branches.
    pdus: Pdus,
}

/// An event that may have redacted another one.
#[derive(Clone, Debug)]
struct Redaction {
    id: OwnedEventId,
    sender: String,
}

impl ApiSource {
    pub(super) async fn read_rooms(
        &mut self,
        tally: &mut Tally,
    ) -> Result<Vec<OwnedRoomId>, ApiError> {
        if self.listed.is_empty() {
            self.listed = self.list_rooms().await?;
        }
        let rooms: BTreeSet<_> =
            self.listed.keys().chain(self.sightings.rooms()).cloned().collect();
        tally.read(Kind::Room, u64::try_from(rooms.len()).unwrap_or(u64::MAX));
        Ok(rooms.into_iter().collect())
    }

    pub(super) async fn read_room(
        &mut self,
        room_id: &OwnedRoomId,
        writer: &DumpWriter,
        tally: &mut Tally,
    ) -> Result<(), SourceError> {
        let mut own = Tally::default();
        let room = match Room::read(self, room_id, &mut own).await {
            Ok(room) => room,
            Err(error) if error.ends_run() => return Err(error.into()),
            Err(error) => {
                tally.skip(Kind::Room, room_id.as_str(), "room-unreadable", error.to_string());
                return Ok(());
            }
        };
        let receipts = self.sightings.take_receipts(room_id);
        Counter::new(&mut own, room_id.as_str()).kept(Kind::Receipt, receipts.len());
        room.write(receipts, &self.erased, writer, &mut own)?;
        absorb(tally, own);
        tally.written(Kind::Room, 1);
        Ok(())
    }
}

/// A room that has been read.
struct ReadRoom {
    head: DumpRoom,
    states: States,
    /// States that are dumped, with their ids in the dump.
    numbers: BTreeMap<u64, u64>,
    outliers: Spool<DumpEvent>,
    /// Events that something refers to.
    needed: BTreeSet<OwnedEventId>,
    timeline: Spool<DumpEvent>,
    /// The events of the timeline: what was spooled as an outlier before it turned up there is none.
    after: BTreeMap<OwnedEventId, u64>,
    pruning: Pruning,
}

impl ReadRoom {
    fn write(
        self,
        receipts: BTreeSet<DumpRemoteReceipt>,
        erased: &Erased,
        writer: &DumpWriter,
        tally: &mut Tally,
    ) -> Result<(), SourceError> {
        let prune = |tally: &mut Tally, kind, event: DumpEvent| {
            let event_id = event.event_id.clone();
            let pruned = erased.prune(event, &self.pruning);
            pruned.map_err(|why| tally.revoke(kind, event_id, why.reason(), why.to_string())).ok()
        };
        let mut file = writer.room(&self.head)?;
        for state in self.states.dump(&self.numbers) {
            file.state(&state)?;
        }
        for event in self.outliers.read()? {
            let event = event?;
            if event.soft_failed && !self.needed.contains(&event.event_id) {
                tally.revoke(Kind::Outlier, event.event_id, "soft-failed", SOFT_FAILED);
                continue;
            }
            if (event.soft_failed || !self.after.contains_key(&event.event_id))
                && let Some(event) = prune(tally, Kind::Outlier, event)
            {
                file.outlier(&event)?;
            }
        }
        for event in self.timeline.read()? {
            let Some(mut event) = prune(tally, Kind::TimelineEvent, event?) else { continue };
            event.state_before = event.state_before.and_then(|id| self.numbers.get(&id).copied());
            file.timeline(&event)?;
        }
        for receipt in receipts {
            file.receipt(&receipt)?;
        }
        writer.finish_room(file)?;
        Ok(())
    }
}

impl<'a> Room<'a> {
    async fn read(
        source: &'a mut ApiSource,
        id: &'a OwnedRoomId,
        tally: &'a mut Tally,
    ) -> Result<ReadRoom, ApiError> {
        let listed = source.listed.get(id).cloned();
        let seen = source.sightings.take(id);
        let room_version = listed
            .as_ref()
            .and_then(|room| room.version.clone())
            .or_else(|| stripped_version(&seen));
        let mut room = Self {
            source,
            id,
            version: Version::new(room_version.as_deref()),
            counter: Counter::new(tally, id.as_str()),
            joined: listed.as_ref().is_some_and(|room| room.joined_local_members > 0),
            seen,
            states: States::default(),
            begin: 0,
            after: BTreeMap::new(),
            latest: None,
            used: BTreeSet::new(),
            resolved: BTreeMap::new(),
            left_state: None,
            guessed: false,
            timeline: Spool::new()?,
            outliers: Spool::new()?,
            known: BTreeMap::new(),
            missing: BTreeSet::new(),
            sought: BTreeSet::new(),
            needed: BTreeSet::new(),
            redactions: BTreeMap::new(),
            pdus: Pdus::new(),
        };
        let mut head = DumpRoom {
            room_id: id.clone(),
            room_version,
            published: listed.as_ref().is_some_and(|room| room.public),
            aliases: Vec::new(),
            current_state: None,
            forward_extremities: Vec::new(),
            earlier_events: Some(0),
            local_members: Vec::new(),
        };
        if listed.is_some() {
            room.read_listed(&mut head).await?;
        }
        head.local_members = room.members(head.current_state).await?;
        room.finish(head, listed.is_some()).await
    }

    /// A room that the server is or was in.
    async fn read_listed(&mut self, head: &mut DumpRoom) -> Result<(), ApiError> {
        self.counter.kept(Kind::PublishedRoom, usize::from(head.published));
        head.aliases = self.aliases().await?;
        let current = self.present_state().await?;
        let extremities = timeline::extremities(&self.source.api, self.id).await?;
        // What nobody is in can only be told by reading it all.
        if self.joined && self.source.history == History::Recent {
            self.begin = self.recent_depth(&extremities).await?;
        }
        if self.begin > 0 {
            head.earlier_events = None;
        }
        self.read_redactions().await?;
        self.read_timeline().await?;
        let ends: Vec<_> = extremities.iter().map(|end| end.event_id.clone()).collect();
        self.read_hidden(&ends).await?;
        head.forward_extremities = extremities
            .into_iter()
            .map(|Extremity { event_id, .. }| event_id)
            .filter(|event_id| self.after.contains_key(event_id))
            .collect();
        head.current_state = self.current_state(current, &head.forward_extremities).await?;
        Ok(())
    }

    async fn read_timeline(&mut self) -> Result<(), ApiError> {
        let api = self.source.api.clone();
        let mut timeline = Timeline::from_depth(self.id, self.begin);
        let mut page = timeline.page(&api).await?;
        while let Some(Page { chunk, .. }) = page {
            // Synapse takes longer for a page than we do, and goes on meanwhile.
            let (next, read) = tokio::join!(timeline.page(&api), self.read_page(&chunk));
            read?;
            page = next?;
        }
        Ok(())
    }

    async fn read_page(&mut self, events: &[Box<RawValue>]) -> Result<(), ApiError> {
        for json in events {
            match Event::parse(json, None, self.id, &self.version) {
                Ok(event) => self.timeline_event(event).await?,
                Err(broken) => {
                    let id = event_id(json);
                    let (reason, detail) = (broken.reason(), broken.to_string());
                    self.counter.lost(Kind::TimelineEvent, &id, reason, detail);
                }
            }
        }
        Ok(())
    }

    async fn timeline_event(&mut self, event: Event) -> Result<(), ApiError> {
        if self.after.contains_key(&event.id) {
            return Ok(());
        }
        if !event.prev_events.iter().all(|prev| self.after.contains_key(prev)) {
            self.read_hidden(&event.prev_events).await?;
        }
        let before = match self.before(&event).await? {
            Before::Nothing => None,
            Before::State(id) => Some(id),
            Before::Missing => {
                self.counter.lost(Kind::TimelineEvent, event.id.as_str(), "state-missing", "Synapse's APIs do not give the state at the event, so nobody could tell who may see it");
                return Ok(());
            }
        };
        let base = before.unwrap_or(state_tree::EMPTY);
        let after = match event.key() {
            Some(key) => self.states.with(base, key, event.id.clone()),
            None => base,
        };
        self.needed.extend(event.auth_events.iter().cloned());
        let (spool, kind, state_before) = if event.soft_failed {
            (&mut self.outliers, Kind::Outlier, None)
        } else {
            (&mut self.timeline, Kind::TimelineEvent, before)
        };
        match event.dump(state_before) {
            Ok(dump) => {
                // One that was fetched before it turned up here is among the outliers.
                let is_spooled = self.known.get(&event.id).is_some_and(|known| known.outlier);
                if !(event.soft_failed && is_spooled) {
                    spool.push(&dump)?;
                }
                self.counter.kept(kind, 1);
            }
            Err(broken) => {
                self.counter.lost(kind, event.id.as_str(), broken.reason(), broken.to_string());
            }
        }
        self.latest = Some(after);
        self.used.extend(before);
        self.after.insert(event.id.clone(), after);
        self.know(event);
        Ok(())
    }

    /// The state after everything. `None`: nobody knows.
    async fn current_state(
        &mut self,
        present: Option<Entries>,
        extremities: &[OwnedEventId],
    ) -> Result<Option<u64>, ApiError> {
        let ends: BTreeSet<u64> =
            extremities.iter().filter_map(|id| self.after.get(id).copied()).collect();
        let candidates: Vec<u64> = ends.iter().copied().collect();
        if let Some(present) = present {
            return Ok(Some(self.states.whole(&candidates, &present)));
        }
        if self.guessed
            && let Some(left) = self.left_state().await?.filter(|left| !left.is_empty())
        {
            return Ok(Some(self.states.whole(&candidates, &left)));
        }
        let state = self.resolve(&ends).await?;
        Ok(state.filter(|state| !self.states.get(*state).is_empty()))
    }

    async fn finish(mut self, mut head: DumpRoom, listed: bool) -> Result<ReadRoom, ApiError> {
        let present = match head.current_state {
            Some(state) => self.states.get(state),
            None => &Entries::new(),
        };
        let pruning = self.source.erased.room(head.room_version.as_deref(), present.values());
        self.used.extend(head.current_state);
        let numbers = self.states.number(&self.used);
        head.current_state = head.current_state.and_then(|id| numbers.get(&id).copied());
        self.needed.extend(self.states.event_ids(&numbers).cloned());
        self.needed
            .extend(head.local_members.iter().map(|DumpMember { event_id, .. }| event_id.clone()));
        let needed = self.read_outliers(listed).await?;
        self.counter.kept(Kind::State, numbers.len());
        let spooled =
            self.known.iter().filter(|(id, known)| known.outlier && !self.after.contains_key(*id));
        let outliers = spooled.count();
        self.counter.kept(Kind::Outlier, outliers);
        Ok(ReadRoom {
            head,
            states: self.states,
            numbers,
            outliers: self.outliers,
            needed,
            timeline: self.timeline,
            after: self.after,
            pruning,
        })
    }
}

/// The version that an invite's or knock's stripped create event tells.
fn stripped_version(seen: &BTreeMap<OwnedUserId, Seen>) -> Option<String> {
    #[derive(Deserialize)]
    struct Create {
        #[serde(rename = "type")]
        kind: String,
        content: Content,
    }
    #[derive(Deserialize)]
    struct Content {
        room_version: Option<String>,
    }

    let stripped = seen.values().flat_map(|seen| match seen {
        Seen::Invite(stripped, _) | Seen::Knock(stripped) => stripped.as_slice(),
        Seen::Left(_) => &[],
    });
    let mut creates = stripped
        .filter_map(|event| serde_json::from_str::<Create>(event.get()).ok())
        .filter(|event| event.kind == "m.room.create");
    creates.next().map(|create| create.content.room_version.unwrap_or_else(|| "1".into()))
}

/// The id of an event that is not understood, as far as it has one.
fn event_id(json: &RawValue) -> String {
    #[derive(Deserialize)]
    struct Id {
        event_id: String,
    }

    serde_json::from_str::<Id>(json.get()).map(|id| id.event_id).unwrap_or_default()
}

fn absorb(tally: &mut Tally, own: Tally) {
    for (kind, number) in own.read {
        tally.read(kind, number);
    }
    for (kind, number) in own.written {
        tally.written(kind, number);
    }
    tally.skipped.extend(own.skipped);
}
