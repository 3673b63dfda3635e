//! Events that are known to be right, and what it takes to know it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ruma::{
    CanonicalJsonObject, EventId, OwnedEventId, OwnedRoomId, OwnedServerName,
    events::StateEventType,
    state_res::{check_state_dependent_auth_rules, check_state_independent_auth_rules},
};
use serde_json::value::RawValue;

use crate::{
    client::ClientError,
    error::BackfillError,
    host::{Host, StateKey, VerifyKey},
    pdu::event::Event,
    pdu::verify::{Invalid, Rules, Unverified},
    upstream::{Limited, Upstream},
    walk::graph::{Node, oldest_first},
};

/// Events that are kept from page to page.
const KEPT: usize = 4096;

/// Servers whose keys are kept.
const SERVERS: usize = 4096;

/// Unknown events for which one large answer is better than many small ones.
const MANY: usize = 8;

/// Unknown events of one page, auth chains included.
const LIMIT: usize = 50_000;

/// An answer in which unknown events may be found all at once.
#[derive(Clone, Copy, Debug)]
pub(super) enum Bulk<'b> {
    /// The state before an event, with auth chains.
    State(&'b EventId),
    /// The auth chain of an event.
    Auth(&'b EventId),
}

/// The events that a walk has checked or the host had.
pub(super) struct Known<'a> {
    host: &'a dyn Host,
    upstream: &'a Limited,
    room: OwnedRoomId,
    pub(super) rules: Rules,
    keys: BTreeMap<OwnedServerName, Vec<VerifyKey>>,
    /// Servers for whose keys the upstream has been asked.
    asked: BTreeSet<OwnedServerName>,
    events: BTreeMap<OwnedEventId, Arc<Event>>,
    /// What can't be had or is not right.
    refused: BTreeSet<OwnedEventId>,
}

/// Ordered by auth events.
struct Gathered(Unverified, Vec<OwnedEventId>);

impl Node for Gathered {
    fn id(&self) -> &OwnedEventId {
        &self.0.id
    }

    fn before(&self) -> Vec<OwnedEventId> {
        self.1.clone()
    }
}

impl<'a> Known<'a> {
    pub(super) fn new(
        host: &'a dyn Host,
        upstream: &'a Limited,
        room: OwnedRoomId,
        rules: Rules,
    ) -> Self {
        Self {
            host,
            upstream,
            room,
            rules,
            keys: BTreeMap::new(),
            asked: BTreeSet::new(),
            events: BTreeMap::new(),
            refused: BTreeSet::new(),
        }
    }

    pub(super) fn get(&self, id: &EventId) -> Option<&Arc<Event>> {
        self.events.get(id)
    }

    pub(super) fn insert(&mut self, event: Arc<Event>) {
        self.events.insert(event.id().clone(), event);
    }

    pub(super) fn refuse(&mut self, id: OwnedEventId) {
        self.refused.insert(id);
    }

    /// Forgets what may be had again, when it has become much.
    pub(super) fn trim(&mut self) {
        if self.events.len() > KEPT {
            self.events.clear();
        }
        if self.refused.len() > KEPT {
            self.refused.clear();
        }
        if self.keys.len() > SERVERS {
            self.keys.clear();
            self.asked.clear();
        }
    }

    /// Checks format, hashes and signatures of an event.
    pub(super) async fn check(
        &mut self,
        event: Unverified,
    ) -> Result<Result<Event, Invalid>, BackfillError> {
        let servers = event.servers();
        for server in &servers {
            if !self.keys.contains_key(server) {
                let keys = self.host.verify_keys(server).await;
                let keys = keys.map_err(BackfillError::host(&self.room))?;
                self.keys.insert(server.clone(), keys);
            }
        }
        let checked = self.rules.check(event.clone(), &self.keys_of(&servers));
        if !matches!(checked, Err(Invalid::Signatures(_))) {
            return Ok(checked);
        }
        // A server that is gone, or has changed its keys: the upstream knew them.
        let mut more = false;
        for server in &servers {
            if self.asked.insert(server.clone()) {
                let keys = match self.upstream.server_keys(server).await {
                    Ok(keys) => keys,
                    // Silence says nothing about the event.
                    Err(error) if error.ends_run() || matches!(error, ClientError::RateLimited) => {
                        self.asked.remove(server);
                        return Err(BackfillError::upstream(&self.room)(error));
                    }
                    Err(_) => Vec::new(),
                };
                more |= !keys.is_empty();
                self.keys.entry(server.clone()).or_default().extend(keys);
            }
        }
        Ok(if more { self.rules.check(event, &self.keys_of(&servers)) } else { checked })
    }

    fn keys_of(
        &self,
        servers: &BTreeSet<OwnedServerName>,
    ) -> BTreeMap<OwnedServerName, Vec<VerifyKey>> {
        let of = |server: &OwnedServerName| (server.clone(), self.keys.get(server).cloned());
        servers.iter().map(of).map(|(server, keys)| (server, keys.unwrap_or_default())).collect()
    }

    /// Sees to it that events are known, with their auth events, if they can be had and are right. What the host doesn't
    /// have becomes an outlier.
    pub(super) async fn load(
        &mut self,
        ids: BTreeSet<OwnedEventId>,
        bulk: Bulk<'_>,
    ) -> Result<(), BackfillError> {
        let mut unknown = Vec::new();
        for id in ids {
            if !self.have(&id).await? {
                unknown.push(id);
            }
        }
        if unknown.is_empty() {
            return Ok(());
        }
        let offered =
            if unknown.len() > MANY { self.offered(bulk).await? } else { BTreeMap::new() };
        let gathered = self.gather(unknown, offered).await?;
        let mut outliers = Vec::new();
        // The newest first, by their auth events: turned round, each event comes after those that allow it.
        for Gathered(event, _) in oldest_first(gathered) {
            let id = event.id.clone();
            let checked = match self.check(event).await? {
                Ok(event) => self.is_allowed(&event).map(|()| event),
                Err(reason) => Err(reason),
            };
            match checked {
                Ok(event) => {
                    outliers.push(event.clone().into_pdu());
                    self.insert(Arc::new(event));
                }
                Err(reason) => {
                    tracing::warn!(room = %self.room, event = %id, %reason, "an event outside of the timeline is refused");
                    self.refused.insert(id);
                }
            }
        }
        if outliers.is_empty() {
            return Ok(());
        }
        let stored = self.host.add_outliers(&self.room, outliers).await;
        stored.map_err(BackfillError::host(&self.room))
    }

    /// Whether nothing is to be fetched: the event is known, or known not to be had.
    async fn have(&mut self, id: &EventId) -> Result<bool, BackfillError> {
        if self.events.contains_key(id) || self.refused.contains(id) {
            return Ok(true);
        }
        let json = self.host.event(&self.room, id).await;
        let json = json.map_err(BackfillError::host(&self.room))?;
        let event = json.and_then(|json| of_host(id, json));
        let have = event.is_some();
        self.events.extend(event.map(|event| (id.to_owned(), Arc::new(event))));
        Ok(have)
    }

    async fn offered(
        &self,
        bulk: Bulk<'_>,
    ) -> Result<BTreeMap<OwnedEventId, Unverified>, BackfillError> {
        let answer = match bulk {
            Bulk::State(event) => self.upstream.state(&self.room, event).await.map(|mut state| {
                state.pdus.append(&mut state.auth_chain);
                state.pdus
            }),
            Bulk::Auth(event) => self.upstream.event_auth(&self.room, event).await,
        };
        let texts: Vec<Box<RawValue>> = match answer {
            Ok(texts) => texts,
            Err(error) if error.ends_run() => {
                return Err(BackfillError::upstream(&self.room)(error));
            }
            // Too large, or not given: each event is asked for.
            Err(_) => Vec::new(),
        };
        let events = texts.into_iter().filter_map(|text| self.rules.read(&text).ok());
        Ok(events.map(|event| (event.id.clone(), event)).collect())
    }

    /// Unknown events with all unknown events of their auth chains.
    async fn gather(
        &mut self,
        mut waiting: Vec<OwnedEventId>,
        mut offered: BTreeMap<OwnedEventId, Unverified>,
    ) -> Result<Vec<Gathered>, BackfillError> {
        let mut gathered = Vec::new();
        let mut seen = BTreeSet::new();
        while let Some(id) = waiting.pop() {
            if !seen.insert(id.clone()) || self.have(&id).await? {
                continue;
            }
            if gathered.len() >= LIMIT {
                return Err(BackfillError::NoProgress { room: self.room.clone(), event: id });
            }
            let event = match offered.remove(&id) {
                Some(event) => Some(event),
                None => self.fetch(&id).await?,
            };
            match event {
                Some(event) => {
                    // Where the room's id says which the create event is, no event names it.
                    let create = self.rules.create_event().filter(|create| *create != id);
                    let auth: Vec<_> = event.auth().chain(create).collect();
                    waiting.extend(auth.iter().cloned());
                    gathered.push(Gathered(event, auth));
                }
                None => {
                    self.refused.insert(id);
                }
            }
        }
        Ok(gathered)
    }

    async fn fetch(&self, id: &EventId) -> Result<Option<Unverified>, BackfillError> {
        match self.upstream.event(id).await {
            Ok(text) => Ok(self.rules.read(&text).ok().filter(|event| event.id == id)),
            Err(error) if error.is_absence() => Ok(None),
            Err(error) => Err(BackfillError::upstream(&self.room)(error)),
        }
    }

    /// Whether its auth events allow an event. They are known, if they can be.
    pub(super) fn is_allowed(&self, event: &Event) -> Result<(), Invalid> {
        let rules = &self.rules.version.authorization;
        check_state_independent_auth_rules(rules, event, |id| self.get(id).cloned())
            .map_err(Invalid::Forbidden)?;
        let create = self.rules.create_event();
        let state: BTreeMap<StateKey, &Arc<Event>> = event
            .auth()
            .iter()
            .chain(&create)
            .filter_map(|id| self.get(id))
            .filter_map(|event| Some((event.key()?, event)))
            .collect();
        let get = |kind: &StateEventType, state_key: &str| {
            state.get(&(kind.to_string(), state_key.to_owned())).copied().cloned()
        };
        check_state_dependent_auth_rules(rules, event, get).map_err(Invalid::Forbidden)
    }
}

/// An event as a host keeps it.
pub(super) fn of_host(id: &EventId, mut json: CanonicalJsonObject) -> Option<Event> {
    json.remove("event_id");
    json.remove("unsigned");
    Event::new(id.to_owned(), json)
}
