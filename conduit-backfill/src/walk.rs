//! A walk through a room, page by page.

mod ahead;
pub(crate) mod graph;
mod known;
mod lists;
mod page;
mod redaction;
mod resolve;
mod state;

use std::collections::{BTreeMap, BTreeSet};

use ruma::{EventId, OwnedEventId, OwnedRoomId, RoomId};
use serde_json::value::RawValue;

use self::{ahead::Ahead, known::Known, page::Base};
use crate::{
    client::ClientError,
    error::BackfillError,
    host::{GivenUp, Host, Place},
    pdu::verify::{Rules, Unverified},
    upstream::{Limited, Upstream},
    walk::graph::{Node, reachable},
};

/// Events from which one request goes on: Synapse's request line holds about 300 ids.
const SEEDS: usize = 200;

/// Events that are asked for at once, at most; Synapse gives 100.
const LIMIT: u32 = 500;

/// Events that are read of one answer.
const ANSWER: usize = 1000;

/// Refused events whose predecessors are looked for.
const REFUSED: usize = 1000;

/// What a step did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Step {
    /// Events that were put before the timeline.
    pub(crate) added: usize,
    /// Whether nothing is left.
    pub(crate) complete: bool,
    /// The greatest depth among the events that the upstream gave.
    pub(crate) depth: Option<u64>,
}

/// A walk through a room, from its timeline's beginning towards its create event.
///
/// It ends, whatever the upstream says. Each step stores or gives up an event that an earlier one names by its hash, and
/// hashes can't be made up afterwards: what is left is a part of the room's history as it was when the newest event was
/// signed. A step that does neither is the last.
pub(crate) struct Walk<'a> {
    host: &'a dyn Host,
    upstream: &'a Limited,
    limit: u32,
    room: OwnedRoomId,
    known: Option<Known<'a>>,
    base: Option<Base>,
    ahead: Option<Ahead<'a>>,
    /// Events that were refused and are not given up yet, as what is before them has not been found, with their
    /// `prev_events`.
    refused: BTreeMap<OwnedEventId, Vec<OwnedEventId>>,
    /// Events that this walk gave up.
    given_up: BTreeSet<OwnedEventId>,
    /// Where the last step began.
    last: BTreeSet<OwnedEventId>,
}

impl Node for Unverified {
    fn id(&self) -> &OwnedEventId {
        &self.id
    }

    fn before(&self) -> Vec<OwnedEventId> {
        self.prev().collect()
    }
}

impl<'a> Walk<'a> {
    pub(crate) fn new(
        host: &'a dyn Host,
        upstream: &'a Limited,
        limit: u32,
        room: OwnedRoomId,
    ) -> Self {
        Self {
            host,
            upstream,
            limit: limit.clamp(1, LIMIT),
            room,
            known: None,
            base: None,
            ahead: None,
            refused: BTreeMap::new(),
            given_up: BTreeSet::new(),
            last: BTreeSet::new(),
        }
    }

    /// Fetches, checks and stores a page; with `more`, asks for the next one meanwhile.
    pub(crate) async fn step(&mut self, more: bool) -> Result<Step, BackfillError> {
        if self.known.is_none() {
            self.known = Some(self.enter().await?);
        }
        let seeds = self.seeds().await?;
        let Some(first) = seeds.first() else {
            self.settle(true).await?;
            return Ok(Step { complete: true, ..Step::default() });
        };
        if seeds == self.last {
            return Err(BackfillError::NoProgress {
                room: self.room.clone(),
                event: first.clone(),
            });
        }
        let answer = self.ask(&seeds).await?;
        let depth = answer.iter().map(Unverified::depth).max();
        let page = self.accept(&seeds, answer).await?;
        if more && !page.is_empty() {
            self.ahead = Ahead::after(self.upstream, &self.room, self.limit, &seeds, &page);
        }
        let mut ahead = self.ahead.take();
        let added = ahead::alongside(&mut ahead, self.store(page)).await?;
        self.ahead = ahead;
        self.settle(false).await?;
        self.last = seeds;
        Ok(Step { added, complete: false, depth })
    }

    async fn enter(&self) -> Result<Known<'a>, BackfillError> {
        let version = self.host.room_version(&self.room).await.map_err(self.host_error())?;
        let Some(version) = version else {
            return Err(BackfillError::UnknownRoom { room: self.room.clone() });
        };
        let Some(rules) = Rules::new(self.room.clone(), &version) else {
            return Err(BackfillError::RoomVersion { room: self.room.clone(), version });
        };
        Ok(Known::new(self.host, self.upstream, self.room.clone(), rules))
    }

    /// The events from which it goes on.
    async fn seeds(&self) -> Result<BTreeSet<OwnedEventId>, BackfillError> {
        let mut seeds = self.host.missing(&self.room).await.map_err(self.host_error())?;
        seeds.retain(|id| !self.refused.contains_key(id));
        for id in self.refused.values().flatten() {
            if !seeds.contains(id) && !self.is_settled(id).await? && !self.refused.contains_key(id)
            {
                seeds.insert(id.clone());
            }
        }
        Ok(seeds)
    }

    /// What the upstream gives from some events on, newest first; what can't be read is left out.
    async fn ask(
        &mut self,
        seeds: &BTreeSet<OwnedEventId>,
    ) -> Result<Vec<Unverified>, BackfillError> {
        let answer = match self.ahead.take() {
            Some(ahead) if ahead.is_from(seeds) => ahead.answer().await,
            _ => {
                let from: Vec<_> = seeds.iter().take(SEEDS).cloned().collect();
                self.upstream.backfill(&self.room, &from, self.limit).await
            }
        };
        let answer = answer.map_err(self.upstream_error())?;
        Ok(self.read(&answer))
    }

    fn read(&self, answer: &[Box<RawValue>]) -> Vec<Unverified> {
        let Some(known) = &self.known else { return Vec::new() };
        let mut seen = BTreeSet::new();
        let mut events = Vec::new();
        for text in answer.iter().take(ANSWER) {
            match known.rules.read(text) {
                Ok(event) if seen.insert(event.id.clone()) => events.push(event),
                Ok(_) => {}
                Err(reason) => {
                    tracing::warn!(room = %self.room, %reason, "an event is not readable");
                }
            }
        }
        events
    }

    /// The part of an answer that belongs before the timeline. An event that nothing leads to is not taken: what leads to it
    /// may be withheld, which is found out first.
    async fn accept(
        &mut self,
        seeds: &BTreeSet<OwnedEventId>,
        mut answer: Vec<Unverified>,
    ) -> Result<Vec<Unverified>, BackfillError> {
        let mut there = BTreeSet::new();
        for event in &answer {
            if self.is_in_timeline(&event.id).await? {
                there.insert(event.id.clone());
            }
        }
        let absent: Vec<_> =
            seeds.iter().filter(|id| answer.iter().all(|event| event.id != **id)).collect();
        let absent: Vec<_> = absent.into_iter().take(SEEDS).cloned().collect();
        let found = reachable(&answer, seeds.iter().cloned());
        answer.retain(|event| !there.contains(&event.id) && !self.refused.contains_key(&event.id));
        let connected = answer.iter().take_while(|event| found.contains(&event.id)).count();
        if connected == answer.len() && connected > 0 {
            return Ok(answer);
        }
        let looked_for = !absent.is_empty();
        if self.resolve(absent).await? || (connected > 0 && !looked_for) {
            answer.truncate(connected);
            return Ok(answer);
        }
        let all = answer.len();
        answer.retain(|event| found.contains(&event.id));
        if answer.len() < all {
            tracing::warn!(room = %self.room, left_out = all.saturating_sub(answer.len()), "the old server returns events that no other event refers to");
        }
        Ok(answer)
    }

    async fn is_in_timeline(&self, event: &EventId) -> Result<bool, BackfillError> {
        let place = self.host.place(&self.room, event).await.map_err(self.host_error())?;
        Ok(place == Place::Timeline)
    }

    async fn is_settled(&self, event: &EventId) -> Result<bool, BackfillError> {
        Ok(self.given_up.contains(event) || self.is_in_timeline(event).await?)
    }

    async fn give_up(&mut self, event: OwnedEventId, reason: GivenUp) -> Result<(), BackfillError> {
        self.host.give_up(&self.room, &event, reason).await.map_err(self.host_error())?;
        self.given_up.insert(event);
        Ok(())
    }

    /// Gives refused events up when what is before them is settled: if the process died before, they would be asked for
    /// again, and the way past them found once more.
    async fn settle(&mut self, all: bool) -> Result<(), BackfillError> {
        loop {
            let all = all || self.refused.len() > REFUSED;
            let mut settled = Vec::new();
            for (id, prev) in &self.refused {
                let mut is_settled = true;
                for id in prev {
                    is_settled &= all || self.is_settled(id).await?;
                }
                if is_settled {
                    settled.push(id.clone());
                }
            }
            if settled.is_empty() {
                return Ok(());
            }
            for id in settled {
                self.refused.remove(&id);
                self.give_up(id, GivenUp::Invalid).await?;
            }
        }
    }

    fn host_error(&self) -> impl Fn(crate::host::HostError) -> BackfillError + '_ {
        BackfillError::host(&self.room)
    }

    fn upstream_error(&self) -> impl Fn(ClientError) -> BackfillError + '_ {
        BackfillError::upstream(&self.room)
    }
}

/// The depth of an event, if the upstream has it in this room.
pub(crate) async fn depth_upstream(
    upstream: &Limited,
    room: &RoomId,
    event: &EventId,
) -> Result<Option<u64>, BackfillError> {
    let room = room.to_owned();
    let text = match upstream.event(event).await {
        Ok(text) => text,
        Err(error) if error.is_absence() => return Ok(None),
        Err(error) => return Err(BackfillError::upstream(&room)(error)),
    };
    Ok(place_of(event, &text).filter(|(found, _)| *found == room).map(|(_, depth)| depth))
}

/// The room of an event, and its depth.
pub(crate) fn place_of(event: &EventId, text: &RawValue) -> Option<(OwnedRoomId, u64)> {
    #[derive(serde::Deserialize)]
    struct Placed {
        #[serde(default)]
        depth: u64,
        room_id: Option<OwnedRoomId>,
    }

    let placed = serde_json::from_str::<Placed>(text.get()).ok()?;
    let room = match placed.room_id {
        Some(room) => room,
        // A create event of room version 12.
        None => RoomId::parse(format!("!{}", event.as_str().strip_prefix('$')?)).ok()?,
    };
    Some((room, placed.depth))
}
