//! What Conduit derives from the content of a timeline event: relations and the search index.

use ruma::{CanonicalJsonObject, CanonicalJsonValue, EventId};

use crate::{
    conduit::{layout::Part, pdu_id::PduCount, trees},
    import::{ImportError, event::Event, rows::Rows},
};

/// Longest word of the search index, in bytes (src/database/key_value/rooms/search.rs:9-14).
const LONGEST_WORD: usize = 50;

/// Types of relations that Conduit knows. With another one, `m.in_reply_to` counts
/// (ruma-events: room/encrypted/relation_serde.rs).
const TYPES: [&str; 5] =
    ["m.thread", "io.element.thread", "m.annotation", "m.reference", "m.replace"];

/// The events that an event's content points to.
#[derive(Debug, Default)]
pub(in crate::import) struct Relations<'a> {
    /// `m.relates_to.event_id`, for every type of relation.
    target: Option<&'a EventId>,
    /// What it replies to, if that is all.
    reply: Option<&'a EventId>,
    /// Whether `target` is the root of a thread that this event belongs to.
    in_thread: bool,
}

impl<'a> Relations<'a> {
    /// Of an event's content.
    pub(in crate::import) fn of(content: Option<&'a CanonicalJsonObject>) -> Self {
        let relates_to = content.and_then(|content| content.get("m.relates_to")?.as_object());
        let Some(relates_to) = relates_to else { return Self::default() };
        let kind = relates_to.get("rel_type").and_then(CanonicalJsonValue::as_str).unwrap_or("");
        let reply = relates_to.get("m.in_reply_to").and_then(CanonicalJsonValue::as_object);
        Self {
            target: event_id(relates_to),
            reply: reply.filter(|_| !TYPES.contains(&kind)).and_then(event_id),
            in_thread: ["m.thread", "io.element.thread"].contains(&kind),
        }
    }

    /// Writes the relation rows (src/service/rooms/timeline/mod.rs:525-579). `count_of` knows the counts of earlier
    /// events. Gives the count of the thread's root, if there is one.
    pub(in crate::import) fn write(
        &self,
        count: u64,
        count_of: impl Fn(&EventId) -> Option<u64>,
        rows: &mut Rows<'_>,
    ) -> Result<Option<u64>, ImportError> {
        for target in self.targets() {
            if let Some(target) = count_of(target) {
                rows.mark(&trees::TOFROM_RELATION, &[Part::U64(target), Part::U64(count)])?;
            }
        }
        Ok(self.thread().and_then(count_of))
    }

    /// The events it relates to.
    pub(in crate::import) fn targets(&self) -> impl Iterator<Item = &'a EventId> {
        [self.target, self.reply].into_iter().flatten()
    }

    /// The root of the thread that it belongs to.
    pub(in crate::import) fn thread(&self) -> Option<&'a EventId> {
        self.target.filter(|_| self.in_thread)
    }
}

fn event_id(object: &CanonicalJsonObject) -> Option<&EventId> {
    <&EventId>::try_from(object.get("event_id")?.as_str()?).ok()
}

/// Writes the words of a message into the search index: `m.room.message` events with a `body`
/// (src/database/key_value/rooms/search.rs:9-43).
pub(in crate::import) fn index_words(
    event: &Event,
    short_room: u64,
    count: PduCount,
    rows: &mut Rows<'_>,
) -> Result<(), ImportError> {
    if event.kind != "m.room.message" {
        return Ok(());
    }
    for word in words(event.content_text("body").unwrap_or_default()) {
        rows.put_raw(&trees::TOKENIDS, count.token(short_room, &word), Vec::new())?;
    }
    Ok(())
}

/// The words of a text: split at everything that is neither letter nor number.
fn words(body: &str) -> impl Iterator<Item = String> {
    body.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty() && word.len() <= LONGEST_WORD)
        .map(str::to_lowercase)
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn words_are_split_and_lowered_as_conduit_does() {
        let long = "x".repeat(51);
        let body = format!("Don't_STOP, Ünïcode-42 {long} 日本");
        let expected = ["don", "t", "stop", "ünïcode", "42", "日本"];
        assert_eq!(words(&body).collect::<Vec<_>>(), expected);
    }
}
