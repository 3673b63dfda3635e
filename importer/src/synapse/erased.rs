//! Events of erased users.
//!
//! Synapse keeps what an erased user sent, and shows it whole to those only who were in the room at the time; everybody
//! else gets the redacted form. Where no such rule is known, the redacted form is what all may see. The present state
//! is shown whole to whomever it is shown, and a room needs it.

use std::collections::BTreeSet;

use ruma::{
    CanonicalJsonObject, OwnedEventId, RoomVersionId, canonical_json::redact,
    room_version_rules::RoomVersionRules,
};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::to_raw_value;

use crate::dump::format::DumpEvent;

/// Users who were erased.
#[derive(Clone, Debug, Default)]
pub(super) struct Erased(BTreeSet<String>);

/// What of a room may be dumped of its events by erased users.
#[derive(Debug, Default)]
pub(super) struct Pruning {
    rules: Option<RoomVersionRules>,
    /// The events of the present state; empty if nobody was erased.
    present: BTreeSet<OwnedEventId>,
}

/// An event of an erased user that can't be brought into its redacted form. Nobody may see what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unprunable {
    #[error(
        "its sender was erased, and what the room's version keeps of such an event is not known"
    )]
    RoomVersion,
    #[error("its sender was erased, and it is no canonical JSON; nobody may see what it holds")]
    Json,
}

impl Unprunable {
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::RoomVersion => "redaction-rules-unknown",
            Self::Json => "redaction-impossible",
        }
    }
}

impl Erased {
    pub(super) fn insert(&mut self, user_id: &str) {
        self.0.insert(user_id.to_owned());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn contains(&self, user_id: &str) -> bool {
        self.0.contains(user_id)
    }

    /// How a room's events are pruned.
    pub(super) fn room<'a>(
        &self,
        room_version: Option<&str>,
        present: impl Iterator<Item = &'a OwnedEventId>,
    ) -> Pruning {
        if self.0.is_empty() {
            return Pruning::default();
        }
        let version = room_version.and_then(|version| RoomVersionId::try_from(version).ok());
        Pruning {
            rules: version.and_then(|version| version.rules()),
            present: present.cloned().collect(),
        }
    }

    /// The event as it may be dumped: pruned if its sender was erased and it is neither redacted already, nor part of
    /// the present state, nor the room's first.
    pub(super) fn prune(
        &self,
        mut event: DumpEvent,
        room: &Pruning,
    ) -> Result<DumpEvent, Unprunable> {
        #[derive(Deserialize)]
        struct Peek {
            sender: String,
            #[serde(rename = "type")]
            kind: String,
            #[serde(default)]
            state_key: Option<IgnoredAny>,
        }

        if self.0.is_empty()
            || event.redacted_by.is_some()
            || room.present.contains(&event.event_id)
        {
            return Ok(event);
        }
        let peek: Peek =
            serde_json::from_str(event.pdu.get()).map_err(|_no_event| Unprunable::Json)?;
        let is_create = peek.kind == "m.room.create" && peek.state_key.is_some();
        if is_create || !self.0.contains(&peek.sender) {
            return Ok(event);
        }
        let rules = room.rules.as_ref().ok_or(Unprunable::RoomVersion)?;
        let whole: CanonicalJsonObject =
            serde_json::from_str(event.pdu.get()).map_err(|_canonical| Unprunable::Json)?;
        let pruned =
            redact(whole.clone(), &rules.redaction, None).map_err(|_invalid| Unprunable::Json)?;
        if pruned != whole {
            event.pdu = to_raw_value(&pruned).map_err(|_infallible| Unprunable::Json)?;
            event.erased = true;
        }
        Ok(event)
    }
}

#[cfg(test)]
mod tests;
