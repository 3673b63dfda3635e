//! Events outside the timeline, one by one: state, auth chains, pending invites.
//!
//! From `fetch_event` of the admin API, which gives every event in its original form; from federation where that is
//! missing, which gives redacted events in their redacted form.

use std::collections::BTreeSet;

use ruma::{EventId, OwnedEventId};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    Redaction, Room,
    event::{Broken, Event, Key},
    timeline::Timeline,
};
use crate::{
    synapse::api::{ApiError, error::optional},
    tally::Kind,
};

/// What is kept in memory of a state event.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) key: Option<Key>,
    pub(super) depth: u64,
    pub(super) auth_events: Vec<OwnedEventId>,
    pub(super) membership: Option<String>,
    /// It is among the outliers.
    pub(super) outlier: bool,
}

impl Room<'_> {
    /// Fetches what is needed and not in the timeline, with auth chains. Gives the ids of all that is needed.
    pub(super) async fn read_outliers(
        &mut self,
        listed: bool,
    ) -> Result<BTreeSet<OwnedEventId>, ApiError> {
        let mut waiting = std::mem::take(&mut self.needed);
        let mut done = BTreeSet::new();
        while let Some(id) = waiting.pop_first() {
            if !done.insert(id.clone()) || self.is_dumped_timeline(&id) {
                continue;
            }
            let Some(known) = self.look_up(&id).await? else { continue };
            // The auth events of an invite from elsewhere are elsewhere.
            if listed {
                let new = known.auth_events.iter().filter(|id| !done.contains(*id));
                waiting.extend(new.cloned());
            }
        }
        Ok(done)
    }

    /// In the timeline; its auth events have been noted as needed.
    fn is_dumped_timeline(&self, id: &EventId) -> bool {
        self.after.contains_key(id)
    }

    /// An event, fetched if it has not been met yet. `None`: Synapse does not give it, which is counted once.
    pub(super) async fn look_up(&mut self, id: &EventId) -> Result<Option<&Known>, ApiError> {
        if !self.known.contains_key(id) && !self.missing.contains(id) {
            match self.fetch(id).await? {
                Some(Ok(event)) => self.add_outlier(event).await?,
                Some(Err(broken)) => self.lose(id, broken.reason(), &broken.to_string()),
                None => self.lose(id, "event-missing", "the room's state or an auth chain needs the event, and Synapse does not give it"),
            }
        }
        Ok(self.known.get(id))
    }

    fn lose(&mut self, id: &EventId, reason: &str, detail: &str) {
        self.counter.lost(Kind::Outlier, id.as_str(), reason, detail);
        self.missing.insert(id.to_owned());
    }

    async fn add_outlier(&mut self, mut event: Event) -> Result<(), ApiError> {
        if event.redacted_by.is_none()
            && let Some(by) = self.redacted_by(&event).await?
            && let Err(broken) = event.redact(by, &self.version)
        {
            self.lose(&event.id.clone(), broken.reason(), &broken.to_string());
            return Ok(());
        }
        match event.dump(None) {
            Ok(dump) => {
                self.outliers.push(&dump)?;
                let id = event.id.clone();
                let mut known = Known::from(event);
                known.outlier = true;
                self.known.insert(id, known);
            }
            Err(broken) => self.lose(&event.id.clone(), broken.reason(), &broken.to_string()),
        }
        Ok(())
    }

    /// Keeps in mind a timeline event that can be part of a state.
    pub(super) fn know(&mut self, event: Event) {
        if event.state_key.is_some() {
            self.known.insert(event.id.clone(), Known::from(event));
        }
    }

    pub(super) async fn fetch(
        &mut self,
        id: &EventId,
    ) -> Result<Option<Result<Event, Broken>>, ApiError> {
        if let Some(json) = self.fetch_by_admin(id).await? {
            return Ok(Some(Event::parse(&json, Some(id), self.id, &self.version)));
        }
        if !self.joined {
            return Ok(None);
        }
        match self.source.federation.event(id).await {
            Ok(json) => Ok(Some(Event::parse(&json, Some(id), self.id, &self.version))),
            Err(error) if error.ends_run() => Err(error.into()),
            Err(_) => Ok(None),
        }
    }

    async fn fetch_by_admin(&mut self, id: &EventId) -> Result<Option<Box<RawValue>>, ApiError> {
        #[derive(Deserialize)]
        struct Answer {
            event: Box<RawValue>,
        }

        if !self.source.has_fetch_event {
            return Ok(None);
        }
        let answer = self.source.api.admin(&["v1", "fetch_event", id.as_str()], &[]).await;
        if answer.as_ref().is_err_and(ApiError::is_unknown_endpoint) {
            self.source.has_fetch_event = false;
        }
        let answer: Option<Answer> = optional(answer)?;
        Ok(answer.map(|answer| answer.event))
    }

    fn note_redaction(&mut self, event: &Event) {
        if let Some(redacts) = event.redacts.clone().filter(|_| !event.soft_failed) {
            let redaction = Redaction { id: event.id.clone(), sender: event.sender.clone() };
            self.redactions.entry(redacts).or_default().push(redaction);
        }
    }

    /// Notes all redactions of the room, as any event may be fetched before the one that redacted it.
    pub(super) async fn read_redactions(&mut self) -> Result<(), ApiError> {
        let mut timeline = Timeline::redactions(self.id);
        while let Some(page) = timeline.page(&self.source.api).await? {
            for json in page.chunk {
                if let Ok(event) = Event::parse(&json, None, self.id, &self.version) {
                    self.note_redaction(&event);
                }
            }
        }
        Ok(())
    }

    /// The event that redacted this one. Whether a redaction was allowed, Synapse tells for events that it shows in a
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
        let path = ["v1", "rooms", self.id.as_str(), "context", event.id.as_str()];
        match self.source.api.admin::<Context>(&path, &[("limit", "0")]).await {
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

impl From<Event> for Known {
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
