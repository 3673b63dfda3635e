//! Resolving branches of a room that Synapse does not federate with itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ruma::{
    EventId, MilliSecondsSinceUnixEpoch, OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, UserId,
    events::{StateEventType, TimelineEventType},
    state_res::{self, StateMap},
};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    event::{Event, Key, Version},
    fetch::Fetcher,
    state_before::only,
    state_tree::{Entries, StateTree},
};
use crate::synapse::api::ApiError;

#[expect(clippy::disallowed_types, reason = "the type that ruma takes; nothing is iterated")]
type IdSet = std::collections::HashSet<OwnedEventId>;

/// Events by their ids, `None` if Synapse does not give them.
type Pdus = BTreeMap<OwnedEventId, Option<Arc<Pdu>>>;

/// An event, as state resolution looks at it.
#[derive(Clone, Debug)]
struct Pdu {
    id: OwnedEventId,
    body: Body,
    prev_events: Vec<OwnedEventId>,
    auth_events: Vec<OwnedEventId>,
}

#[derive(Clone, Debug, Deserialize)]
struct Body {
    sender: OwnedUserId,
    origin_server_ts: MilliSecondsSinceUnixEpoch,
    #[serde(rename = "type")]
    kind: TimelineEventType,
    content: Box<RawValue>,
    state_key: Option<String>,
    room_id: Option<OwnedRoomId>,
}

/// Resolves branches of a room.
#[derive(Debug, Default)]
pub(super) struct Resolver {
    pdus: Pdus,
}

impl Resolver {
    /// The state in which some states result. `None` of none.
    pub(super) async fn resolve(
        &mut self,
        states: &BTreeSet<u64>,
        tree: &mut StateTree,
        fetcher: &mut Fetcher<'_>,
    ) -> Result<Option<u64>, ApiError> {
        if let Some(only) = only(states) {
            return Ok(Some(only));
        }
        let maps: Vec<Entries> = states.iter().map(|state| tree.get(*state).clone()).collect();
        for entries in &maps {
            self.load(entries.values().cloned().collect(), fetcher).await?;
        }
        let Some(entries) = self.resolve_entries(&maps, fetcher.room_id, &fetcher.version) else {
            return Ok(states.last().copied());
        };
        let near: Vec<u64> = states.iter().copied().collect();
        Ok(Some(tree.whole(&near, &entries)))
    }

    /// `None` if the room's version has no resolution that is known, or it fails.
    fn resolve_entries(
        &self,
        maps: &[Entries],
        room_id: &RoomId,
        version: &Version,
    ) -> Option<Entries> {
        let rules = version.rules()?;
        let resolution = rules.state_res.v2_rules()?;
        let chains = maps.iter().map(|entries| self.chain(entries.values())).collect();
        let maps: Vec<StateMap<OwnedEventId>> = maps.iter().map(state_map).collect();
        let resolved = state_res::resolve(
            &rules.authorization,
            resolution,
            &maps,
            chains,
            |id| self.pdus.get(id).cloned().flatten(),
            |conflicted| Some(self.subgraph(conflicted.values().flatten())),
        );
        match resolved {
            Ok(resolved) => Some(
                resolved
                    .into_iter()
                    .map(|((kind, state_key), id)| ((kind.to_string(), state_key), id))
                    .collect(),
            ),
            Err(error) => {
                tracing::warn!(room = %room_id, %error, "branches can't be resolved; the newer one is used");
                None
            }
        }
    }

    /// Fetches events and their auth chains.
    async fn load(
        &mut self,
        mut waiting: Vec<OwnedEventId>,
        fetcher: &mut Fetcher<'_>,
    ) -> Result<(), ApiError> {
        while let Some(id) = waiting.pop() {
            if self.pdus.contains_key(&id) {
                continue;
            }
            let event = fetcher.fetch(&id).await?;
            let pdu = event.and_then(|event| Pdu::new(&event.ok()?)).map(Arc::new);
            waiting.extend(pdu.iter().flat_map(|pdu| pdu.auth_events.iter().cloned()));
            self.pdus.insert(id, pdu);
        }
        Ok(())
    }

    /// Auth chains of events, without the events themselves unless they are in a chain.
    fn chain<'b>(&self, ids: impl Iterator<Item = &'b OwnedEventId>) -> IdSet {
        let mut chain = IdSet::new();
        let mut waiting: Vec<&OwnedEventId> = ids.flat_map(|id| self.auth_events(id)).collect();
        while let Some(id) = waiting.pop() {
            if chain.insert(id.clone()) {
                waiting.extend(self.auth_events(id));
            }
        }
        chain
    }

    /// The events on the ways from one of some events to another one of them along auth events.
    fn subgraph<'b>(&self, ids: impl Iterator<Item = &'b OwnedEventId>) -> IdSet {
        let ends: IdSet = ids.cloned().collect();
        let reached = self.chain(ends.iter());
        let leads_to_end = |id: &OwnedEventId| {
            ends.contains(id) || !self.chain(std::iter::once(id)).is_disjoint(&ends)
        };
        let between = reached.into_iter().filter(leads_to_end).collect::<IdSet>();
        between.union(&ends).cloned().collect()
    }

    fn auth_events(&self, id: &EventId) -> &[OwnedEventId] {
        self.pdus.get(id).and_then(Option::as_ref).map_or(&[], |pdu| &pdu.auth_events)
    }
}

fn state_map(entries: &Entries) -> StateMap<OwnedEventId> {
    let entry = |((kind, state_key), id): (&Key, &OwnedEventId)| {
        ((StateEventType::from(kind.as_str()), state_key.clone()), id.clone())
    };
    entries.iter().map(entry).collect()
}

impl Pdu {
    fn new(event: &Event) -> Option<Self> {
        let json = event.pdu().ok()?;
        let body: Body = serde_json::from_str(json.get()).ok()?;
        Some(Self {
            id: event.id.clone(),
            body,
            prev_events: event.prev_events.clone(),
            auth_events: event.auth_events.clone(),
        })
    }
}

impl state_res::Event for Pdu {
    type Id = OwnedEventId;

    fn event_id(&self) -> &Self::Id {
        &self.id
    }

    fn room_id(&self) -> Option<&RoomId> {
        self.body.room_id.as_deref()
    }

    fn sender(&self) -> &UserId {
        &self.body.sender
    }

    fn origin_server_ts(&self) -> MilliSecondsSinceUnixEpoch {
        self.body.origin_server_ts
    }

    fn event_type(&self) -> &TimelineEventType {
        &self.body.kind
    }

    fn content(&self) -> &RawValue {
        &self.body.content
    }

    fn state_key(&self) -> Option<&str> {
        self.body.state_key.as_deref()
    }

    fn prev_events(&self) -> Box<dyn DoubleEndedIterator<Item = &Self::Id> + '_> {
        Box::new(self.prev_events.iter())
    }

    fn auth_events(&self) -> Box<dyn DoubleEndedIterator<Item = &Self::Id> + '_> {
        Box::new(self.auth_events.iter())
    }

    fn redacts(&self) -> Option<&Self::Id> {
        None
    }

    fn rejected(&self) -> bool {
        false
    }
}
