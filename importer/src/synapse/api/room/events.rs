//! Events of a room, in the timeline and outside: state, auth chains, pending invites.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use ruma::{EventId, OwnedEventId};
use serde::Deserialize;

use super::{
    event::{Event, Key},
    event_spool::EventSpool,
    fetch::Fetcher,
    timeline::Timeline,
};
use crate::{
    synapse::api::{ApiError, counter::Counter},
    tally::Kind,
};

/// What is kept in memory of a state event.
#[derive(Clone, Debug)]
pub(super) struct KnownEvent {
    pub(super) key: Option<Key>,
    pub(super) depth: u64,
    pub(super) auth_events: Vec<OwnedEventId>,
    pub(super) membership: Option<String>,
    /// It is among the outliers.
    pub(super) outlier: bool,
}

/// An event that may have redacted another one.
#[derive(Clone, Debug)]
struct Redaction {
    id: OwnedEventId,
    sender: String,
}

/// The events of a room.
pub(super) struct RoomEvents<'a> {
    pub(super) fetcher: Fetcher<'a>,
    /// Events outside the timeline, to be dumped.
    pub(super) outliers: EventSpool,
    /// State events that were read, in the timeline or outside.
    known: BTreeMap<OwnedEventId, KnownEvent>,
    /// Events that Synapse does not give.
    missing: BTreeSet<OwnedEventId>,
    /// Redactions by the event that they name.
    redactions: BTreeMap<OwnedEventId, Vec<Redaction>>,
}

impl<'a> RoomEvents<'a> {
    pub(super) fn new(fetcher: Fetcher<'a>) -> Self {
        let outliers = EventSpool::default();
        let (known, missing, redactions) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
        Self { fetcher, outliers, known, missing, redactions }
    }

    /// Fetches `needed` events and their auth chains, unless `is_in_timeline`: the auth events of those are among the
    /// needed ones. Returns the ids of all that is needed.
    pub(super) async fn read_needed(
        &mut self,
        needed: BTreeSet<OwnedEventId>,
        is_in_timeline: impl Fn(&EventId) -> bool + Send,
        with_auth_chains: bool,
        counter: &mut Counter<'_>,
    ) -> Result<BTreeSet<OwnedEventId>, ApiError> {
        let mut waiting = needed;
        let mut done = BTreeSet::new();
        while let Some(id) = waiting.pop_first() {
            if !done.insert(id.clone()) || is_in_timeline(&id) {
                continue;
            }
            let Some(known) = self.look_up(&id, counter).await? else { continue };
            if with_auth_chains {
                let new = known.auth_events.iter().filter(|id| !done.contains(*id));
                waiting.extend(new.cloned());
            }
        }
        Ok(done)
    }

    /// An event, fetched unless it is known. `None`: Synapse does not give it, which is counted once.
    pub(super) async fn look_up(
        &mut self,
        id: &EventId,
        counter: &mut Counter<'_>,
    ) -> Result<Option<&KnownEvent>, ApiError> {
        if !self.known.contains_key(id) && !self.missing.contains(id) {
            match self.fetcher.fetch(id).await? {
                Some(Ok(event)) => self.add_outlier(event, counter).await?,
                Some(Err(broken)) => self.lose(id, broken.reason(), broken.to_string(), counter),
                None => self.lose(id, "event-missing", "the room's state or an auth chain refers to the event, and Synapse does not provide it", counter),
            }
        }
        Ok(self.known.get(id))
    }

    fn lose(
        &mut self,
        id: &EventId,
        reason: &str,
        detail: impl Into<Cow<'static, str>>,
        counter: &mut Counter<'_>,
    ) {
        counter.lost(Kind::Outlier, id.as_str(), reason, detail);
        self.missing.insert(id.to_owned());
    }

    async fn add_outlier(
        &mut self,
        mut event: Event,
        counter: &mut Counter<'_>,
    ) -> Result<(), ApiError> {
        if event.redacted_by.is_none()
            && let Some(by) = self.redacted_by(&event).await?
            && let Err(broken) = event.redact(by, &self.fetcher.version)
        {
            self.lose(&event.id.clone(), broken.reason(), broken.to_string(), counter);
            return Ok(());
        }
        match event.dump(None) {
            Ok(dump) => {
                self.outliers.push(&dump)?;
                let id = event.id.clone();
                self.known.insert(id, KnownEvent { outlier: true, ..KnownEvent::from(event) });
            }
            Err(broken) => {
                self.lose(&event.id.clone(), broken.reason(), broken.to_string(), counter);
            }
        }
        Ok(())
    }

    /// Keeps in mind a timeline event that can be part of a state.
    pub(super) fn know(&mut self, event: Event) {
        if event.state_key.is_some() {
            self.known.insert(event.id.clone(), KnownEvent::from(event));
        }
    }

    /// Whether an event is among the outliers.
    pub(super) fn is_outlier(&self, id: &EventId) -> bool {
        self.known.get(id).is_some_and(|known| known.outlier)
    }

    /// The events that are among the outliers.
    pub(super) fn outlier_ids(&self) -> impl Iterator<Item = &OwnedEventId> {
        self.known.iter().filter(|(_, known)| known.outlier).map(|(id, _)| id)
    }

    fn note_redaction(&mut self, event: &Event) {
        if let Some(redacts) = event.redacts.clone().filter(|_| !event.soft_failed) {
            let redaction = Redaction { id: event.id.clone(), sender: event.sender.clone() };
            self.redactions.entry(redacts).or_default().push(redaction);
        }
    }

    /// Notes all redactions of the room, as any event may be fetched before the one that redacted it.
    pub(super) async fn read_redactions(&mut self) -> Result<(), ApiError> {
        let mut timeline = Timeline::redactions(self.fetcher.room_id);
        while let Some(page) = timeline.page(self.fetcher.api).await? {
            for json in page.chunk {
                if let Ok(event) = self.fetcher.parse(&json, None) {
                    self.note_redaction(&event);
                }
            }
        }
        Ok(())
    }

    /// The event that redacted this one. Synapse tells whether a redaction was allowed for events that it shows in a
    /// timeline; of others it is held allowed if it comes from the sender's own server.
    async fn redacted_by(&mut self, event: &Event) -> Result<Option<OwnedEventId>, ApiError> {
        #[derive(Deserialize)]
        struct Context {
            event: ContextEvent,
        }
        #[derive(Deserialize)]
        struct ContextEvent {
            #[serde(default)]
            unsigned: Unsigned,
        }
        #[derive(Default, Deserialize)]
        struct Unsigned {
            redacted_because: Option<Because>,
        }
        #[derive(Deserialize)]
        struct Because {
            event_id: OwnedEventId,
        }

        let Some(redactions) = self.redactions.get(&event.id) else { return Ok(None) };
        let path = ["v1", "rooms", self.fetcher.room_id.as_str(), "context", event.id.as_str()];
        match self.fetcher.api.admin::<Context>(&path, &[("limit", "0")]).await {
            Ok(context) => Ok(context.event.unsigned.redacted_because.map(|b| b.event_id)),
            Err(error) if error.ends_run() => Err(error),
            Err(_) => {
                let server = |user: &str| user.split_once(':').map(|(_, server)| server.to_owned());
                let own = redactions.iter().find(|r| server(&r.sender) == server(&event.sender));
                Ok(own.map(|redaction| redaction.id.clone()))
            }
        }
    }
}

impl From<Event> for KnownEvent {
    fn from(event: Event) -> Self {
        Self {
            key: event.key(),
            depth: event.depth,
            auth_events: event.auth_events,
            membership: event.membership,
            outlier: false,
        }
    }
}
