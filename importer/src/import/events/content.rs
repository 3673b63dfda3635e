//! What Conduit derives from the content of an event: what it relates to, and its words.

use ruma::{EventId, OwnedEventId};

use crate::conduit::canonical_json::{Canonical, Object};

/// Longest word of the search index, in bytes (src/database/key_value/rooms/search.rs:9-14).
const LONGEST_WORD: usize = 50;

/// Types of relations that Conduit knows. With another one, `m.in_reply_to` counts
/// (ruma-events: room/encrypted/relation_serde.rs).
const TYPES: [&str; 5] =
    ["m.thread", "io.element.thread", "m.annotation", "m.reference", "m.replace"];

/// The events that an event's content points to.
#[derive(Clone, Debug, Default)]
pub(in crate::import) struct Relations {
    /// `m.relates_to.event_id`, for every type of relation.
    target: Option<OwnedEventId>,
    /// What it replies to, if that is all.
    reply: Option<OwnedEventId>,
    /// Whether `target` is the root of a thread that this event belongs to.
    in_thread: bool,
}

impl Relations {
    /// Of an event's content.
    pub(in crate::import) fn of(content: &Object<'_>) -> Self {
        let relates_to = content.get("m.relates_to").and_then(Canonical::as_object);
        let Some(relates_to) = relates_to else { return Self::default() };
        let kind = relates_to.text("rel_type").unwrap_or("");
        let reply = relates_to.get("m.in_reply_to").and_then(Canonical::as_object);
        Self {
            target: event_id(relates_to),
            reply: reply.filter(|_| !TYPES.contains(&kind)).and_then(event_id),
            in_thread: ["m.thread", "io.element.thread"].contains(&kind),
        }
    }

    /// The events that it relates to.
    pub(in crate::import) fn targets(&self) -> impl Iterator<Item = &EventId> {
        [&self.target, &self.reply].into_iter().filter_map(|target| target.as_deref())
    }

    /// The root of the thread that the event belongs to.
    pub(in crate::import) fn thread(&self) -> Option<&EventId> {
        self.target.as_deref().filter(|_| self.in_thread)
    }
}

fn event_id(object: &Object<'_>) -> Option<OwnedEventId> {
    EventId::parse(object.text("event_id")?).ok()
}

/// The words of a message with a `body`: split at everything that is neither letter nor number
/// (src/database/key_value/rooms/search.rs:9-43).
pub(super) fn words(kind: &str, content: &Object<'_>) -> Vec<String> {
    let body = content.text("body").filter(|_| kind == "m.room.message").unwrap_or_default();
    body.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty() && word.len() <= LONGEST_WORD)
        .map(str::to_lowercase)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_and_lowered_as_conduit_does() {
        let long = "x".repeat(51);
        let body = format!("Don't_STOP, Ünïcode-42 {long} 日本");
        let mut content = Object::default();
        content.insert("body", Canonical::Text(body.into()));
        let expected = ["don", "t", "stop", "ünïcode", "42", "日本"];
        assert_eq!(words("m.room.message", &content), expected);
        assert_eq!(words("m.room.topic", &content), [""; 0]);
    }
}
