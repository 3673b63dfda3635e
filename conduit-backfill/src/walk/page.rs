//! A page: the state before each event, whether it is allowed, and into the timeline with it.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use ruma::{EventId, OwnedEventId};

use super::{
    Walk,
    known::{Bulk, of_host},
    lists::Lists,
};
use crate::{
    client::ClientError,
    error::BackfillError,
    host::{GivenUp, Page, PageEvent, StateBefore, StateMap},
    pdu::event::Event,
    pdu::verify::{Invalid, Unverified},
    walk::graph::{Node, oldest_first},
    walk::state::State,
};

/// The event before which a page goes, with the state before it: the states of a page are said as differences from it.
pub(super) struct Base {
    event: Option<Arc<Event>>,
    state: Arc<StateMap>,
}

/// An event of a page that will be stored.
struct Placed {
    event: Arc<Event>,
    state: State,
}

/// What became of a page.
#[derive(Default)]
struct Outcome {
    placed: Vec<Placed>,
    withheld: Vec<Event>,
    refused: Vec<(OwnedEventId, Vec<OwnedEventId>)>,
}

impl Node for Event {
    fn id(&self) -> &OwnedEventId {
        self.id()
    }

    fn before(&self) -> Vec<OwnedEventId> {
        self.prev().to_vec()
    }
}

impl Walk<'_> {
    /// Checks and stores a page that comes newest first; gives the number of events that are in the timeline now.
    pub(super) async fn store(
        &mut self,
        newest_first: Vec<Unverified>,
    ) -> Result<usize, BackfillError> {
        if newest_first.is_empty() {
            return Ok(0);
        }
        if self.base.is_none() {
            self.base = Some(self.find_base().await?);
        }
        let mut outcome = Outcome::default();
        let events = self.verify(newest_first, &mut outcome).await?;
        self.place(events, &mut outcome).await?;
        let Outcome { placed, withheld, refused } = outcome;
        let added = placed.len();
        if added > 0 {
            self.prepend(placed).await?;
        }
        for event in withheld {
            let id = event.id().clone();
            let stored = self.host.add_outliers(&self.room, vec![event.into_pdu()]).await;
            stored.map_err(self.host_error())?;
            self.give_up(id, GivenUp::Withheld).await?;
        }
        self.refused.extend(refused);
        Ok(added)
    }

    async fn find_base(&self) -> Result<Base, BackfillError> {
        let Some(first) = self.host.first(&self.room).await.map_err(self.host_error())? else {
            return Ok(Base { event: None, state: Arc::default() });
        };
        let state = self.host.state_before(&self.room, &first).await.map_err(self.host_error())?;
        let Some(state) = state else { return Ok(Base { event: None, state: Arc::default() }) };
        let json = self.host.event(&self.room, &first).await.map_err(self.host_error())?;
        let event = json.and_then(|json| of_host(&first, json)).map(Arc::new);
        Ok(Base { event, state: Arc::new(state) })
    }

    /// The events that are what they say, oldest first.
    async fn verify(
        &mut self,
        newest_first: Vec<Unverified>,
        outcome: &mut Outcome,
    ) -> Result<Vec<Event>, BackfillError> {
        let Some(known) = &mut self.known else { return Ok(Vec::new()) };
        known.trim();
        let mut events = Vec::with_capacity(newest_first.len());
        for event in oldest_first(newest_first) {
            let (id, prev) = (event.id.clone(), event.prev().collect());
            match known.check(event).await? {
                Ok(event) => events.push(event),
                Err(reason) => {
                    tracing::warn!(room = %self.room, event = %id, %reason, "an event is refused");
                    known.refuse(id.clone());
                    outcome.refused.push((id, prev));
                }
            }
        }
        Ok(events)
    }

    /// Finds the state before each event, and whether it is allowed.
    async fn place(
        &mut self,
        events: Vec<Event>,
        outcome: &mut Outcome,
    ) -> Result<(), BackfillError> {
        let Some(base) = &self.base else { return Ok(()) };
        let state = base.state.clone();
        let inherits = base.event.as_ref().is_some_and(|next| is_chain_to(&events, next));
        let mut after: BTreeMap<OwnedEventId, State> = BTreeMap::new();
        let room = self.room.clone();
        let needed = if inherits { VecDeque::new() } else { begins(&events) };
        let mut lists = Lists::new(self.upstream, &room, needed);
        for event in events {
            let mut before = if inherits {
                Some(State::new(state.clone()))
            } else {
                after_all(&after, event.prev())
            };
            if before.is_none() {
                before = self.listed(&event, &state, &mut lists).await?;
            }
            let Some(before) = before else {
                tracing::info!(room = %self.room, event = %event.id(), "the old server has the event outside of its timeline only");
                outcome.withheld.push(event);
                continue;
            };
            match self.allow(&event).await? {
                Ok(()) => {
                    let event = Arc::new(event);
                    let next = match event.key() {
                        Some(key) => before.with(key, event.id()),
                        None => before.clone(),
                    };
                    after.insert(event.id().clone(), next);
                    if let Some(known) = &mut self.known {
                        known.insert(event.clone());
                    }
                    outcome.placed.push(Placed { event, state: before });
                }
                Err(reason) => {
                    tracing::warn!(room = %self.room, event = %event.id(), %reason, "an event is refused");
                    if let Some(known) = &mut self.known {
                        known.refuse(event.id().clone());
                    }
                    outcome.refused.push((event.id().clone(), event.prev().to_vec()));
                }
            }
        }
        Ok(())
    }

    /// The state before an event, as the upstream lists it; `None` if it has the event outside of the timeline only.
    async fn listed(
        &mut self,
        event: &Event,
        base: &Arc<StateMap>,
        lists: &mut Lists<'_>,
    ) -> Result<Option<State>, BackfillError> {
        let ids = match lists.before(event.id()).await {
            Ok(answer) => answer.pdu_ids,
            Err(ClientError::RoomNotFound { .. }) => return Ok(None),
            Err(error) => return Err(self.upstream_error()(error)),
        };
        if event.is_create() {
            return Ok(Some(State::new(Arc::default())));
        }
        let Some(known) = &mut self.known else { return Ok(None) };
        let mut ids: BTreeSet<_> = ids.into_iter().collect();
        let mut removed = Vec::new();
        for (key, id) in base.iter() {
            if !ids.remove(id) {
                removed.push(key.clone());
            }
        }
        known.load(ids.clone(), Bulk::State(event.id())).await?;
        let error = |reason: &str| BackfillError::State {
            room: self.room.clone(),
            event: event.id().clone(),
            reason: reason.to_owned(),
        };
        let mut added = BTreeMap::new();
        let mut left_out = 0_usize;
        for id in ids {
            match known.get(&id).map(|event| event.key()) {
                Some(Some(key)) => {
                    let twice = base.contains_key(&key) && !removed.contains(&key);
                    if twice || added.insert(key, id).is_some() {
                        return Err(error("it has two events for one state key"));
                    }
                }
                Some(None) => return Err(error("an event in it is no state event")),
                None => {
                    tracing::warn!(room = %self.room, event = %id, before = %event.id(), "a state event is not available");
                    left_out = left_out.saturating_add(1);
                }
            }
        }
        let state = State::listed(base.clone(), removed, added);
        let has = |kind: &str| state.get(&(kind.to_owned(), String::new())).is_some();
        if !has("m.room.create") {
            return Err(error("it has no create event"));
        }
        // Nobody sees more because a member or another entry is left out, but without its history visibility a room is
        // open to its members.
        if left_out > 0 && !has("m.room.history_visibility") {
            return Err(error("a part of it is not available"));
        }
        Ok(Some(state))
    }

    /// Whether an event's own auth events allow it. The state before it does not decide: the old server has accepted the event
    /// and shown it, by a state that it may have worked out since, and that need not be the one that it lists now.
    async fn allow(&mut self, event: &Event) -> Result<Result<(), Invalid>, BackfillError> {
        let Some(known) = &mut self.known else { return Ok(Ok(())) };
        let mut ids: BTreeSet<_> = event.auth().iter().cloned().collect();
        ids.extend(known.rules.create_event().filter(|create| create != event.id()));
        known.load(ids, Bulk::Auth(event.id())).await?;
        Ok(known.is_allowed(event))
    }

    async fn prepend(&mut self, placed: Vec<Placed>) -> Result<(), BackfillError> {
        let Some(base) = self.base.take() else { return Ok(()) };
        let mut page = Page { events: Vec::with_capacity(placed.len()) };
        let mut redactions: BTreeMap<String, OwnedEventId> = BTreeMap::new();
        for Placed { event, .. } in &placed {
            if let Some(redacted) = event.redaction_target() {
                redactions.insert(redacted.to_owned(), event.id().clone());
            }
        }
        for (index, Placed { event, state }) in placed.iter().enumerate() {
            let earlier = placed.get(..index).unwrap_or_default();
            let state_before = describe(event, state, earlier, &base);
            let (json, redacted_by) = self.redact(event, &redactions).await?;
            let pdu = crate::host::Pdu { event_id: event.id().clone(), json };
            page.events.push(PageEvent { pdu, state_before, redacted_by });
        }
        self.host.prepend(&self.room, page).await.map_err(self.host_error())?;
        // What is before the oldest event is the next page's base; nobody else holds it now, so that it is not copied.
        drop(base);
        let mut placed = placed.into_iter();
        if let Some(Placed { event, state }) = placed.next() {
            drop(placed);
            self.base = Some(Base { event: Some(event), state: Arc::new(state.into_whole()) });
        }
        Ok(())
    }
}

/// Whether events, oldest first, are a chain without state events that ends at the event `next`. Then the state before all
/// of them is that before `next`.
fn is_chain_to(events: &[Event], next: &Event) -> bool {
    let nexts = events.iter().skip(1).chain([next]);
    events.iter().zip(nexts).all(|(event, next)| {
        event.key().is_none() && matches!(next.prev(), [only] if only == event.id())
    })
}

/// The events of a page that follow one outside of it: what their states are does not follow from the page.
fn begins(events: &[Event]) -> VecDeque<OwnedEventId> {
    let page: BTreeSet<_> = events.iter().map(Event::id).collect();
    let is_first = |event: &&Event| {
        event.prev().is_empty() || event.prev().iter().any(|prev| !page.contains(prev))
    };
    events.iter().filter(is_first).map(|event| event.id().clone()).collect()
}

/// The state after some events, if it is known after all of them, and the same.
fn after_all(after: &BTreeMap<OwnedEventId, State>, events: &[OwnedEventId]) -> Option<State> {
    let (first, others) = events.split_first()?;
    let state = after.get(first)?;
    let same = |id: &OwnedEventId| after.get(id).is_some_and(|other| other.is_same(state));
    others.iter().all(same).then(|| state.clone())
}

/// How the state before an event is told to the host: as changes of the state before another event, if there is one.
fn describe(event: &Event, state: &State, earlier: &[Placed], base: &Base) -> StateBefore {
    if event.is_create() {
        return StateBefore::Nothing;
    }
    let is_prev = |id: &EventId| event.prev().iter().any(|prev| prev == id);
    let prev = earlier.iter().rev().find(|placed| is_prev(placed.event.id()));
    let known = prev.or(earlier.last()).filter(|placed| !placed.event.is_create());
    if let Some(Placed { event, state: earlier }) = known {
        return state.since(event.id(), earlier);
    }
    match &base.event {
        Some(next) if !next.is_create() => state.since(next.id(), &State::new(base.state.clone())),
        _ => StateBefore::Whole(state.whole()),
    }
}
