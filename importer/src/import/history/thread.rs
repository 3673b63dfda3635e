//! The thread that an event began, told by replies that are there before it.

use ruma::{CanonicalJsonObject, CanonicalJsonValue, Int};

use crate::{
    conduit::schema::{layout::Part, trees},
    import::{ImportError, row_writer::Rows},
};

/// The replies of a thread, seen so far.
#[derive(Debug, Default)]
pub(super) struct Thread {
    replies: u64,
    latest: CanonicalJsonObject,
    participants: Vec<String>,
}

impl Thread {
    /// Adds the next reply.
    pub(super) fn add(&mut self, event: &CanonicalJsonObject) {
        let fields = ["content", "type", "event_id", "sender", "origin_server_ts"];
        self.replies = self.replies.saturating_add(1);
        self.latest = fields
            .into_iter()
            .filter_map(|name| Some((name.into(), event.get(name)?.clone())))
            .collect();
        let sender = event.get("sender").and_then(CanonicalJsonValue::as_str).unwrap_or_default();
        if !self.participants.iter().any(|user| user == sender) {
            self.participants.push(sender.to_owned());
        }
    }

    /// Writes the summary into the root, and the participants (src/service/rooms/threads/mod.rs:29-115).
    pub(super) fn write(
        mut self,
        root: &mut CanonicalJsonObject,
        pdu_id: &[u8],
        rows: &mut Rows<'_>,
    ) -> Result<(), ImportError> {
        if let Some(sender) = root.get("sender").and_then(CanonicalJsonValue::as_str) {
            self.participants.retain(|user| user != sender);
            self.participants.insert(0, sender.to_owned());
        }
        let replies = Int::try_from(self.replies).unwrap_or(Int::MAX);
        let summary = CanonicalJsonObject::from([
            ("latest_event".into(), CanonicalJsonValue::Object(self.latest)),
            ("count".into(), CanonicalJsonValue::Integer(replies)),
            ("current_user_participated".into(), CanonicalJsonValue::Bool(true)),
        ]);
        let relations =
            CanonicalJsonObject::from([("m.thread".into(), CanonicalJsonValue::Object(summary))]);
        set_unsigned(root, "m.relations", CanonicalJsonValue::Object(relations));
        let users: Vec<_> = self.participants.iter().map(String::as_str).collect();
        let value = trees::THREADID_USERIDS.value(&[Part::Texts(&users)]);
        rows.put_raw(&trees::THREADID_USERIDS, pdu_id.to_vec(), value)
    }
}

/// Sets a field of `unsigned`.
pub(super) fn set_unsigned(event: &mut CanonicalJsonObject, name: &str, value: CanonicalJsonValue) {
    let unsigned = event
        .entry("unsigned".into())
        .or_insert_with(|| CanonicalJsonValue::Object(CanonicalJsonObject::new()));
    if let CanonicalJsonValue::Object(unsigned) = unsigned {
        unsigned.insert(name.into(), value);
    }
}
