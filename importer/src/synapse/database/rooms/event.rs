//! An event as Synapse stores it, and as a dump has it.

use std::{collections::BTreeMap, fmt};

use ruma::{
    CanonicalJsonObject, OwnedEventId, RoomVersionId, canonical_json::redact,
    room_version_rules::RoomVersionRules,
};
use serde::{
    Deserialize,
    de::{DeserializeOwned, IgnoredAny},
};
use serde_json::value::{RawValue, to_raw_value};

use super::{
    super::row::{BrokenRow, Row},
    Position,
    states::Key,
};
use crate::dump::format::DumpEvent;

/// What to select for a [`StoredEvent`].
pub(super) const COLUMNS: &str = "e.event_id, e.stream_ordering, e.topological_ordering, e.room_id, e.outlier, \
    r.event_id IS NOT NULL, sg.state_group, ej.internal_metadata, ej.format_version, ej.json";
/// Where to select it from.
pub(super) const TABLES: &str = "events e LEFT JOIN event_json ej ON ej.event_id = e.event_id \
    LEFT JOIN rejections r ON r.event_id = e.event_id \
    LEFT JOIN event_to_state_groups sg ON sg.event_id = e.event_id";

/// A row of `events` with what belongs to it.
#[derive(Clone, Debug)]
pub(super) struct StoredEvent {
    pub(super) event_id: OwnedEventId,
    pub(super) position: Position,
    pub(super) room_id: String,
    pub(super) outlier: bool,
    pub(super) rejected: bool,
    pub(super) metadata: Metadata,
    /// The state group *after* the event; outliers have none.
    pub(super) group: Option<i64>,
    /// The event has its id inside (room versions 1 and 2).
    holds_id: bool,
    format: i64,
    pub(super) pdu: Pdu,
}

/// What `internal_metadata` says. Anything but `true` is *false*.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Metadata {
    pub(super) soft_failed: bool,
    /// An invite, knock or leave in a room that the server is not in.
    pub(super) out_of_band_membership: bool,
    /// A redaction that holds only if it comes from the sender's own server.
    pub(super) recheck_redaction: bool,
}

impl Metadata {
    pub(super) fn parse(json: &RawValue) -> Self {
        let flags: BTreeMap<String, serde_json::Value> =
            serde_json::from_str(json.get()).unwrap_or_default();
        let is = |flag: &str| flags.get(flag) == Some(&serde_json::Value::Bool(true));
        Self {
            soft_failed: is("soft_failed"),
            out_of_band_membership: is("out_of_band_membership"),
            recheck_redaction: is("recheck_redaction"),
        }
    }
}

/// The event itself: all its keys, and those that are needed here.
#[derive(Clone, Debug)]
pub(super) struct Pdu {
    fields: BTreeMap<String, Box<RawValue>>,
    pub(super) kind: String,
    pub(super) state_key: Option<String>,
    pub(super) sender: String,
    pub(super) prev_events: Vec<OwnedEventId>,
    pub(super) auth_events: Vec<OwnedEventId>,
    /// The event that this one took the place of in the state, as Synapse noted.
    pub(super) replaces_state: Option<OwnedEventId>,
}

/// A reference to an event: the id, in room versions 1 and 2 with a hash.
#[derive(Deserialize)]
#[serde(untagged)]
enum Reference {
    Id(String),
    Pair(String, IgnoredAny),
}

#[derive(Default, Deserialize)]
struct Unsigned {
    #[serde(default)]
    replaces_state: Option<serde_json::Value>,
}

impl StoredEvent {
    /// Decodes a row of [`COLUMNS`].
    pub(super) fn decode(row: &Row) -> Result<Self, BrokenRow> {
        type Columns = (
            OwnedEventId,
            i64,
            i64,
            String,
            bool,
            bool,
            Option<i64>,
            Box<RawValue>,
            Option<i64>,
            Box<RawValue>,
        );
        let (
            event_id,
            stream,
            topological,
            room_id,
            outlier,
            rejected,
            group,
            metadata,
            format,
            json,
        ) = row.decode::<Columns>()?;
        let pdu =
            Pdu::parse(&json).ok_or_else(|| BrokenRow::new("json", "json-invalid", "an event"))?;
        // NULL: from before there were formats.
        let format = format.unwrap_or(1);
        Ok(Self {
            event_id,
            position: Position::new(stream, topological),
            room_id,
            outlier,
            rejected,
            metadata: Metadata::parse(&metadata),
            group,
            holds_id: format == 1,
            format,
            pdu,
        })
    }

    /// Type and state key of a state event.
    pub(super) fn state_entry(&self) -> Option<Key> {
        Some((self.pdu.kind.clone(), self.pdu.state_key.clone()?))
    }

    /// Whether this is a room's first event.
    pub(super) fn is_create(&self) -> bool {
        self.pdu.kind == "m.room.create" && self.pdu.state_key.as_deref() == Some("")
    }

    /// The event for the dump, redacted if something redacted it.
    pub(super) fn dump(
        &self,
        room_version: Option<&str>,
        state_before: Option<u64>,
        redacted_by: Option<OwnedEventId>,
    ) -> Result<DumpEvent, Unredactable> {
        let pdu = if redacted_by.is_some() {
            self.redacted(room_version)?
        } else {
            let mut fields = self.pdu.fields.clone();
            fields.remove("unsigned");
            if !self.holds_id {
                fields.remove("event_id");
            }
            to_raw_value(&fields).map_err(|_infallible| Unredactable::Json)?
        };
        Ok(DumpEvent {
            event_id: self.event_id.clone(),
            state_before,
            redacted_by,
            erased: false,
            soft_failed: self.metadata.soft_failed,
            pdu,
        })
    }

    /// The redacted form. Synapse's row has the original until it is censored, a week later.
    fn redacted(&self, room_version: Option<&str>) -> Result<Box<RawValue>, Unredactable> {
        let rules = self.rules(room_version).ok_or(Unredactable::RoomVersion)?;
        let text = to_raw_value(&self.pdu.fields).map_err(|_infallible| Unredactable::Json)?;
        let mut event: CanonicalJsonObject =
            serde_json::from_str(text.get()).map_err(|_canonical| Unredactable::Json)?;
        event.remove("unsigned");
        if !self.holds_id {
            event.remove("event_id");
        }
        let event = redact(event, &rules.redaction, None).map_err(|_invalid| Unredactable::Json)?;
        to_raw_value(&event).map_err(|_infallible| Unredactable::Json)
    }

    /// The rules of the room's version; of an unknown one, those that go with the event's format.
    fn rules(&self, room_version: Option<&str>) -> Option<RoomVersionRules> {
        let version = match (room_version, self.format) {
            (Some(version), _) => RoomVersionId::try_from(version).ok()?,
            (None, 1) => RoomVersionId::V1,
            (None, 2) => RoomVersionId::V3,
            (None, 3) => RoomVersionId::V5,
            (None, _) => return None,
        };
        version.rules()
    }
}

/// An event that was redacted, and can't be brought into its redacted form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unredactable {
    /// How the room's version redacts is not known.
    RoomVersion,
    /// The event is no canonical JSON.
    Json,
}

impl Unredactable {
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::RoomVersion => "redaction-rules-unknown",
            Self::Json => "redaction-impossible",
        }
    }
}

impl fmt::Display for Unredactable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RoomVersion => {
                "the event was redacted, and what its room version keeps of it is not known"
            }
            Self::Json => {
                "the event was redacted, but it is no canonical JSON; nobody may see what it held"
            }
        })
    }
}

impl Pdu {
    fn parse(json: &RawValue) -> Option<Self> {
        let fields: BTreeMap<String, Box<RawValue>> = serde_json::from_str(json.get()).ok()?;
        let unsigned: Unsigned = field(&fields, "unsigned").unwrap_or_default();
        Some(Self {
            kind: field(&fields, "type")?,
            state_key: field(&fields, "state_key"),
            sender: field(&fields, "sender")?,
            prev_events: references(&fields, "prev_events"),
            auth_events: references(&fields, "auth_events"),
            replaces_state: unsigned
                .replaces_state
                .and_then(|id| OwnedEventId::try_from(id.as_str()?).ok()),
            fields,
        })
    }

    /// The list at `unsigned.KEY`.
    pub(super) fn unsigned_list(json: &RawValue, key: &str) -> Option<Vec<Box<RawValue>>> {
        let fields: BTreeMap<String, Box<RawValue>> = serde_json::from_str(json.get()).ok()?;
        let unsigned: BTreeMap<String, Box<RawValue>> = field(&fields, "unsigned")?;
        field(&unsigned, key)
    }
}

fn field<T: DeserializeOwned>(fields: &BTreeMap<String, Box<RawValue>>, key: &str) -> Option<T> {
    serde_json::from_str(fields.get(key)?.get()).ok()
}

fn references(fields: &BTreeMap<String, Box<RawValue>>, key: &str) -> Vec<OwnedEventId> {
    let references: Vec<Reference> = field(fields, key).unwrap_or_default();
    let ids = references.into_iter().map(|(Reference::Id(id) | Reference::Pair(id, _))| id);
    ids.filter_map(|id| OwnedEventId::try_from(id).ok()).collect()
}
