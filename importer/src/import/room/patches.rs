//! Changes to events that are written already, because of events that came after them.

use std::collections::BTreeMap;

use ruma::{CanonicalJsonObject, CanonicalJsonValue, OwnedEventId};

use super::index::{Index, Slot};
use crate::{
    conduit::{
        layout::Part,
        trees::{self, EVENTID_OUTLIERPDU, PDUID_PDU, Tree},
    },
    import::{
        ImportError,
        event::{self, integer, text},
        rows::Rows,
    },
};

/// Where an event is stored.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    Outlier(OwnedEventId),
    /// The count.
    Timeline(u64),
}

#[derive(Debug, Default)]
struct Patch {
    redaction: Option<OwnedEventId>,
    thread: Option<Thread>,
    /// The count of the state event that this one replaces, if it comes later in the timeline.
    replaced: Option<u64>,
}

/// The replies of a thread, seen so far.
#[derive(Debug)]
pub(in crate::import) struct Thread {
    replies: u64,
    latest: CanonicalJsonValue,
    participants: Vec<String>,
}

/// All changes of one room.
#[derive(Debug, Default)]
pub(super) struct Patches(BTreeMap<Place, Patch>);

impl Patches {
    /// The event was redacted.
    pub(super) fn redacted(&mut self, place: Place, redaction: OwnedEventId) {
        self.0.entry(place).or_default().redaction = Some(redaction);
    }

    /// The event replaces one that comes later.
    pub(super) fn replaces(&mut self, count: u64, replaced: u64) {
        self.0.entry(Place::Timeline(count)).or_default().replaced = Some(replaced);
    }

    /// A reply in the thread whose root has the count `root`.
    pub(super) fn reply(&mut self, root: u64, event: &CanonicalJsonObject) {
        let patch = self.0.entry(Place::Timeline(root)).or_default();
        patch.thread.get_or_insert_default().add(event);
    }

    /// Rewrites the events.
    pub(super) fn apply(
        self,
        short_room: u64,
        index: &Index,
        rows: &mut Rows<'_>,
    ) -> Result<(), ImportError> {
        for (place, patch) in self.0 {
            let (tree, key) = row(&place, short_room);
            let Some(mut json) = read(tree, &key, rows)? else { continue };
            if let Some(redaction) = patch.redaction {
                let because = match redaction_place(redaction, index) {
                    Some(place) => {
                        let (tree, key) = row(&place, short_room);
                        read(tree, &key, rows)?
                    }
                    None => None,
                };
                if let Some(because) = because {
                    set_unsigned(
                        &mut json,
                        "redacted_because",
                        CanonicalJsonValue::Object(because),
                    );
                }
            } else if let Some(replaced) = patch.replaced {
                let (tree, key) = row(&Place::Timeline(replaced), short_room);
                let old = read(tree, &key, rows)?;
                if let Some(content) = old.and_then(|mut old| old.remove("content")) {
                    set_unsigned(&mut json, "prev_content", content);
                }
            }
            if let Some(thread) = patch.thread {
                thread.write(&mut json, &key, rows)?;
            }
            rows.put_raw(tree, key, event::write(&json))?;
        }
        Ok(())
    }
}

impl Default for Thread {
    fn default() -> Self {
        Self { replies: 0, latest: CanonicalJsonValue::Null, participants: Vec::new() }
    }
}

impl Thread {
    /// Adds the next reply.
    pub(in crate::import) fn add(&mut self, event: &CanonicalJsonObject) {
        let fields = ["content", "type", "event_id", "sender", "origin_server_ts"];
        let latest =
            fields.into_iter().filter_map(|name| Some((name.into(), event.get(name)?.clone())));
        self.replies = self.replies.saturating_add(1);
        self.latest = CanonicalJsonValue::Object(latest.collect());
        let sender = event.get("sender").and_then(CanonicalJsonValue::as_str).unwrap_or_default();
        if !self.participants.iter().any(|user| user == sender) {
            self.participants.push(sender.to_owned());
        }
    }

    /// Writes the summary into the root, and the participants (src/service/rooms/threads/mod.rs:29-115).
    pub(in crate::import) fn write(
        mut self,
        root: &mut CanonicalJsonObject,
        pdu_id: &[u8],
        rows: &mut Rows<'_>,
    ) -> Result<(), ImportError> {
        if let Some(sender) = root.get("sender").and_then(CanonicalJsonValue::as_str) {
            self.participants.retain(|user| user != sender);
            self.participants.insert(0, sender.to_owned());
        }
        let summary = CanonicalJsonObject::from([
            ("latest_event".into(), self.latest),
            ("count".into(), integer(self.replies)),
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

/// What a redacted event says of its redaction as long as that is not known.
pub(in crate::import) fn unknown_redaction(
    redaction: &OwnedEventId,
    target: &OwnedEventId,
) -> CanonicalJsonObject {
    CanonicalJsonObject::from([
        ("content".into(), CanonicalJsonValue::Object(CanonicalJsonObject::new())),
        ("event_id".into(), text(redaction.as_str())),
        ("redacts".into(), text(target.as_str())),
        ("type".into(), text("m.room.redaction")),
    ])
}

fn redaction_place(id: OwnedEventId, index: &Index) -> Option<Place> {
    match index.get(&id)? {
        Slot::Outlier(_) => Some(Place::Outlier(id)),
        Slot::Timeline(_) => index.count(&id).map(Place::Timeline),
    }
}

fn row(place: &Place, short_room: u64) -> (&'static Tree, Vec<u8>) {
    match place {
        Place::Outlier(id) => {
            (&EVENTID_OUTLIERPDU, EVENTID_OUTLIERPDU.key(&[Part::Text(id.as_str())]))
        }
        Place::Timeline(count) => {
            (&PDUID_PDU, PDUID_PDU.key(&[Part::U64(short_room), Part::U64(*count)]))
        }
    }
}

fn read(
    tree: &'static Tree,
    key: &[u8],
    rows: &mut Rows<'_>,
) -> Result<Option<CanonicalJsonObject>, ImportError> {
    Ok(rows.get(tree, key)?.and_then(|stored| serde_json::from_slice(&stored).ok()))
}

/// Sets a field of `unsigned`.
pub(in crate::import) fn set_unsigned(
    event: &mut CanonicalJsonObject,
    name: &str,
    value: CanonicalJsonValue,
) {
    let unsigned = event
        .entry("unsigned".into())
        .or_insert_with(|| CanonicalJsonValue::Object(CanonicalJsonObject::new()));
    if let CanonicalJsonValue::Object(unsigned) = unsigned {
        unsigned.insert(name.into(), value);
    }
}
