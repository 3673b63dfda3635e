//! Redactions of events that come into the timeline later than their redactions.

use std::collections::{BTreeMap, BTreeSet};

use ruma::{CanonicalJsonObject, OwnedEventId, events::StateEventType};

use super::{
    Walk,
    known::{Bulk, of_host},
};
use crate::{error::BackfillError, pdu::event::Event, pdu::redaction::is_effective};

/// Redactions of one event that are judged. If there are more, one of them hides it.
const JUDGED: usize = 100;

impl Walk<'_> {
    /// An event with its redaction, if there is one. `redactions` are those of the same page.
    pub(super) async fn redact(
        &mut self,
        event: &Event,
        redactions: &BTreeMap<String, OwnedEventId>,
    ) -> Result<(CanonicalJsonObject, Option<OwnedEventId>), BackfillError> {
        let json = event.json().clone();
        if let Some(redaction) = &event.redacted_by {
            return Ok((json, Some(redaction.clone())));
        }
        let found = self.host.redactions_of(&self.room, event.id()).await;
        let found = found.map_err(self.host_error())?;
        if !event.intact {
            let newest = found.into_iter().next();
            return Ok((json, newest.or_else(|| redactions.get(event.id().as_str()).cloned())));
        }
        // The old server gives it whole: either a redaction came after the move, or none had an effect.
        for (judged, redaction) in found.into_iter().enumerate() {
            if judged < JUDGED && !self.has_effect(&redaction, event).await? {
                continue;
            }
            let Some(known) = &self.known else { break };
            if let Ok(redacted) = known.rules.redact(json.clone()) {
                return Ok((redacted, Some(redaction)));
            }
        }
        Ok((json, None))
    }

    /// Whether somebody may redact an event: one whose server is that of its sender, or who has the power when it is redacted.
    /// What is not known hides it.
    async fn has_effect(
        &mut self,
        redaction: &OwnedEventId,
        event: &Event,
    ) -> Result<bool, BackfillError> {
        let json = self.host.event(&self.room, redaction).await.map_err(self.host_error())?;
        let Some(by) = json.and_then(|json| of_host(redaction, json)) else { return Ok(true) };
        if by.sender().server_name() == event.sender().server_name() {
            return Ok(true);
        }
        let state = self.host.state_before(&self.room, redaction).await;
        let Some(state) = state.map_err(self.host_error())? else { return Ok(true) };
        let get = |kind: StateEventType| state.get(&(kind.to_string(), String::new()));
        let create = get(StateEventType::RoomCreate);
        let levels = get(StateEventType::RoomPowerLevels);
        let Some(known) = &mut self.known else { return Ok(true) };
        let ids: BTreeSet<_> = [create, levels].into_iter().flatten().cloned().collect();
        known.load(ids, Bulk::Auth(event.id())).await?;
        let event_of =
            |id: Option<&OwnedEventId>| id.and_then(|id| known.get(id)).map(|event| &**event);
        let powers = Some((event_of(create), event_of(levels)));
        let rules = &known.rules.version.authorization;
        Ok(is_effective(&by, event.sender(), powers, rules))
    }
}
