//! Redactions of events that come into the timeline later than their redactions.

use std::collections::{BTreeMap, BTreeSet};

use ruma::{
    CanonicalJsonObject, OwnedEventId,
    events::StateEventType,
    state_res::events::{RoomCreateEvent, RoomPowerLevelsEvent, RoomPowerLevelsIntField},
};

use super::{
    Walk,
    known::{Bulk, of_host},
};
use crate::{error::BackfillError, event::Event};

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
        let found = self.host.redaction_of(&self.room, event.id()).await;
        let found = found.map_err(self.host_error())?;
        if !event.intact {
            return Ok((json, found.or_else(|| redactions.get(event.id().as_str()).cloned())));
        }
        // The old server gives it whole: either the redaction came after the move, or it had no effect.
        let Some(redaction) = found else { return Ok((json, None)) };
        if !self.has_effect(&redaction, event).await? {
            return Ok((json, None));
        }
        let Some(known) = &self.known else { return Ok((json, None)) };
        match known.rules.redact(json.clone()) {
            Ok(redacted) => Ok((redacted, Some(redaction))),
            Err(_) => Ok((json, None)),
        }
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
        let rules = &known.rules.version.authorization;
        let creators = create
            .and_then(|id| known.get(id))
            .and_then(|event| RoomCreateEvent::new(event.clone()).creators(rules).ok());
        let created = creators.is_none_or(|creators| creators.contains(by.sender()));
        let Some(levels) = levels.and_then(|id| known.get(id)) else { return Ok(created) };
        let levels = RoomPowerLevelsEvent::new(levels.clone());
        let power = levels.user_power_level(by.sender(), rules);
        let needed = levels.get_as_int_or_default(RoomPowerLevelsIntField::Redact, rules);
        let enough = power.ok().zip(needed.ok()).is_none_or(|(power, needed)| power >= needed);
        Ok(enough || (created && rules.explicitly_privilege_room_creators))
    }
}
