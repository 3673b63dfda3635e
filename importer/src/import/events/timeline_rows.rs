//! The rows of a timeline event, of a dump (`rooms/writer.rs`) or fetched later (`history/page.rs`), and what Conduit adds to an
//! event because of others (`unsigned`).

use std::collections::BTreeMap;

use ruma::{EventId, OwnedUserId, RoomId, UserId};

use super::{
    event::{Event, Unsigned, text},
    state_layers::State,
};
use crate::{
    conduit::schema::{
        pdu_id::PduCount,
        shapes::{Relation, RoomReferenced, ShortEvent, ShortStateHash, UserTexts},
        trees,
    },
    import::{ImportError, row_writer::Rows},
};

/// An event and its place in the timeline of a room.
#[derive(Debug)]
pub(in crate::import) struct TimelineEvent<'a> {
    pub(in crate::import) event: &'a Event,
    /// The short event id.
    pub(in crate::import) short: u64,
    pub(in crate::import) room_id: &'a RoomId,
    pub(in crate::import) short_room: u64,
    pub(in crate::import) count: PduCount,
    /// The short state hash of the state before the event; `None` for the first event of a room.
    pub(in crate::import) state_before: Option<u64>,
    pub(in crate::import) unsigned: Unsigned,
}

impl TimelineEvent<'_> {
    /// Writes the event, its place, the state before it, its words, and the marks of the events before it.
    ///
    /// `is_extremity` says which events are forward extremities of the room. One that counted as referenced would be dropped
    /// with the next event from another server (src/service/rooms/event_handler/mod.rs:894-912).
    pub(in crate::import) fn write(
        &self,
        is_extremity: impl Fn(&str) -> bool,
        rows: &mut Rows<'_>,
    ) -> Result<(), ImportError> {
        let Self { event, room_id, count, .. } = self;
        // The state before a room's first event is empty. Without any state, everybody could read the event.
        let state = match self.state_before {
            Some(state) => state,
            None => State::default().change(&BTreeMap::new(), rows)?.short_state_hash(),
        };
        write_state_before(self.short, state, rows)?;
        let key = count.key(self.short_room);
        let id = event.id.as_bytes().to_vec();
        rows.put_raw(&trees::EVENTID_PDUID, id, key.clone())?;
        rows.put_raw(&trees::PDUID_PDU, key, event.stored(&self.unsigned))?;
        for previous in event.prev_events.iter().filter(|previous| !is_extremity(previous)) {
            let key = RoomReferenced { room: room_id.as_str(), event: previous };
            rows.mark(&trees::REFERENCEDEVENTS, &key)?;
        }
        // The search index (src/database/key_value/rooms/search.rs:9-43).
        for word in &event.words {
            rows.put_raw(&trees::TOKENIDS, count.token(self.short_room, word), Vec::new())?;
        }
        Ok(())
    }
}

/// Writes which state is before an event: Conduit decides by it who may read the event.
pub(in crate::import) fn write_state_before(
    short_event: u64,
    short_state_hash: u64,
    rows: &mut Rows<'_>,
) -> Result<(), ImportError> {
    let (event, state) = (ShortEvent { short_event }, ShortStateHash { short_state_hash });
    rows.put(&trees::SHORTEVENTID_SHORTSTATEHASH, &event, &state)
}

/// Writes that the event with the count `source` relates to an earlier one (src/service/rooms/timeline/mod.rs:525-579).
pub(in crate::import) fn relate(
    target: u64,
    source: u64,
    rows: &mut Rows<'_>,
) -> Result<(), ImportError> {
    rows.mark(&trees::TOFROM_RELATION, &Relation { to_count: target, from_count: source })
}

/// The state event that another one replaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::import) struct Replaced {
    /// Canonical JSON.
    pub(in crate::import) content: String,
    pub(in crate::import) sender: String,
}

impl Unsigned {
    /// What Conduit adds to an event: the event that redacted it (canonical JSON), or else what it replaces
    /// (src/service/rooms/timeline/mod.rs:216-248, 756-773, src/service/pdu.rs:57-77).
    pub(in crate::import) fn of(
        sender: &UserId,
        redaction: Option<String>,
        replaced: Option<Replaced>,
        server_name: &str,
    ) -> Self {
        let mut unsigned = Self::default();
        if let Some(redaction) = redaction {
            unsigned.add("redacted_because", redaction);
        } else if let Some(replaced) = replaced {
            unsigned.add("prev_content", replaced.content);
            if sender.server_name() == server_name {
                unsigned.add("prev_sender", text(&replaced.sender));
            }
        }
        unsigned
    }
}

/// What a redacted event says of its redaction if nothing but the id of that is known.
pub(in crate::import) fn unknown_redaction(redaction: &EventId, target: &EventId) -> String {
    format!(
        r#"{{"content":{{}},"event_id":{},"redacts":{},"type":"m.room.redaction"}}"#,
        text(redaction.as_str()),
        text(target.as_str())
    )
}

/// The replies of a thread, added in the order of the timeline.
#[derive(Debug, Default)]
pub(in crate::import) struct Thread {
    replies: u64,
    /// Senders of replies, with the number of their first one.
    participants: BTreeMap<OwnedUserId, u64>,
}

impl Thread {
    /// Adds the next reply.
    pub(in crate::import) fn add(&mut self, sender: &UserId) {
        self.replies += 1;
        if !self.participants.contains_key(sender) {
            self.participants.insert(sender.to_owned(), self.replies);
        }
    }

    /// Writes the participants of a thread, the sender of its root first. Gives the summary for the root's `m.relations`
    /// (src/service/rooms/threads/mod.rs:29-115); `latest` is the newest reply as [`latest_reply`] gives it.
    pub(in crate::import) fn write(
        mut self,
        root_sender: &UserId,
        latest: &str,
        root_pdu_id: Vec<u8>,
        rows: &mut Rows<'_>,
    ) -> Result<String, ImportError> {
        self.participants.insert(root_sender.to_owned(), 0);
        let mut users: Vec<_> = self.participants.iter().collect();
        users.sort_by_key(|(_, first)| **first);
        let users = users.into_iter().map(|(user, _)| user.as_str()).collect();
        let value = trees::THREADID_USERIDS.value_of(&UserTexts { users });
        rows.put_raw(&trees::THREADID_USERIDS, root_pdu_id, value)?;
        Ok(format!(
            r#"{{"m.thread":{{"count":{},"current_user_participated":true,"latest_event":{latest}}}}}"#,
            self.replies
        ))
    }
}

/// A reply as the summary of its thread shows it, in canonical JSON.
pub(in crate::import) fn latest_reply(event: &Event) -> String {
    format!(
        r#"{{"content":{},"event_id":{},"origin_server_ts":{},"sender":{},"type":{}}}"#,
        event.content(),
        text(event.id.as_str()),
        event.origin_server_ts,
        text(event.sender.as_str()),
        text(&event.kind),
    )
}

#[cfg(test)]
mod tests {
    use ruma::user_id;

    use super::*;
    use crate::conduit::store::{KvRead as _, memory::MemoryStore};

    fn replaced() -> Replaced {
        Replaced { content: r#"{"name":"Old"}"#.into(), sender: "@bob:other.test".into() }
    }

    #[test]
    fn a_redaction_hides_what_was_replaced_and_only_own_users_name_its_sender() {
        let (own, other) = (user_id!("@alice:own.test"), user_id!("@carol:other.test"));
        let redaction = || Some(r#"{"type":"m.room.redaction"}"#.to_owned());
        let of = |sender, redaction, replaced| {
            format!("{:?}", Unsigned::of(sender, redaction, replaced, "own.test"))
        };
        assert_eq!(of(own, None, None), "Unsigned([])");
        assert_eq!(
            of(own, redaction(), Some(replaced())),
            r#"Unsigned([("redacted_because", "{\"type\":\"m.room.redaction\"}")])"#
        );
        assert_eq!(
            of(own, None, Some(replaced())),
            r#"Unsigned([("prev_content", "{\"name\":\"Old\"}"), ("prev_sender", "\"@bob:other.test\"")])"#
        );
        assert_eq!(
            of(other, None, Some(replaced())),
            r#"Unsigned([("prev_content", "{\"name\":\"Old\"}")])"#
        );
    }

    #[test]
    fn a_thread_counts_replies_and_names_each_participant_once_the_root_first() {
        let mut thread = Thread::default();
        let users = ["@zoe:x", "@bob:x", "@root:x", "@zoe:x"];
        for user in users {
            thread.add(<&UserId>::try_from(user).unwrap());
        }
        let mut store = MemoryStore::default();
        let mut rows = Rows::new(&mut store);
        let root = PduCount::Normal(7).key(3);
        let summary = thread.write(user_id!("@root:x"), r#"{"x":1}"#, root.clone(), &mut rows);
        assert_eq!(
            summary.unwrap(),
            r#"{"m.thread":{"count":4,"current_user_participated":true,"latest_event":{"x":1}}}"#
        );
        rows.flush().unwrap();
        let participants = store.get(&trees::THREADID_USERIDS, &root).unwrap().unwrap();
        assert_eq!(participants, b"@root:x\xff@zoe:x\xff@bob:x");
    }
}
