//! What an event points to, other than the events before it.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, EventId, OwnedEventId,
    room_version_rules::RedactionRules,
};

/// Types of relations that Conduit knows. With another one, `m.in_reply_to` counts.
const TYPES: [&str; 5] =
    ["m.thread", "io.element.thread", "m.annotation", "m.reference", "m.replace"];

/// The events that an event points to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Links {
    /// Those that it relates to: `m.relates_to.event_id`, and what it replies to, if that is all.
    pub related: BTreeSet<OwnedEventId>,
    /// The root of the thread that it is in; one of the related.
    pub thread: Option<OwnedEventId>,
    /// The event that it redacts.
    pub redacts: Option<OwnedEventId>,
}

impl Links {
    /// Reads them from an event of a room with these rules.
    pub fn of(event: &CanonicalJsonObject, rules: &RedactionRules) -> Self {
        let content = event.get("content").and_then(CanonicalJsonValue::as_object);
        let is_redaction = event.get("type").and_then(CanonicalJsonValue::as_str)
            == Some("m.room.redaction")
            && !event.contains_key("state_key");
        let redaction = if rules.content_field_redacts { content } else { Some(event) };
        let redacts = redaction.filter(|_| is_redaction).and_then(|from| id(from, "redacts"));
        let relates_to = content.and_then(|content| content.get("m.relates_to")?.as_object());
        let Some(relates_to) = relates_to else { return Self { redacts, ..Self::default() } };
        let kind = relates_to.get("rel_type").and_then(CanonicalJsonValue::as_str).unwrap_or("");
        let target = id(relates_to, "event_id");
        let reply = relates_to
            .get("m.in_reply_to")
            .and_then(CanonicalJsonValue::as_object)
            .filter(|_| !TYPES.contains(&kind))
            .and_then(|reply| id(reply, "event_id"));
        let thread = target.clone().filter(|_| ["m.thread", "io.element.thread"].contains(&kind));
        Self { related: target.into_iter().chain(reply).collect(), thread, redacts }
    }

    /// All events that it points to.
    pub fn targets(&self) -> BTreeSet<&EventId> {
        self.related.iter().chain(&self.redacts).map(|id| &**id).collect()
    }
}

fn id(object: &CanonicalJsonObject, name: &str) -> Option<OwnedEventId> {
    EventId::parse(object.get(name)?.as_str()?).ok()
}
