//! An event as Synapse stores it, and as a dump has it.

use std::fmt;

use ruma::{
    CanonicalJsonObject, OwnedEventId, RoomVersionId, canonical_json::redact,
    room_version_rules::RoomVersionRules,
};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};

use super::{
    super::row::{BrokenRow, FromValue, Row, Value, row},
    event_json::{Pdu, Signed},
    state_groups::Key,
    timeline::StreamPosition,
};
use crate::dump::format::DumpEvent;

macro_rules! columns {
    ($($is_redacted:tt)*) => {
        concat!(
            "e.event_id, e.stream_ordering, e.topological_ordering, e.room_id, e.outlier, \
             r.event_id IS NOT NULL, sg.state_group, ",
            $($is_redacted)*,
            ", ej.internal_metadata, ej.format_version, ej.json"
        )
    };
}

macro_rules! is_redacted {
    () => {
        "(SELECT x.redacts FROM redactions x WHERE x.redacts = e.event_id LIMIT 1) IS NOT NULL"
    };
}

macro_rules! joined {
    () => {
        "LEFT JOIN event_json ej ON ej.event_id = e.event_id \
         LEFT JOIN rejections r ON r.event_id = e.event_id \
         LEFT JOIN event_to_state_groups sg ON sg.event_id = e.event_id"
    };
}

/// What to select for an [`EventRow`]. `EXISTS` would let PostgreSQL read all redactions of the server for each page of events.
pub(super) const COLUMNS: &str = columns!(is_redacted!());
/// Whether some event names the event `e` in `redacts`.
pub(super) const IS_REDACTED: &str = is_redacted!();
/// The names of these columns, for rows that were kept.
pub(super) const COLUMN_NAMES: [&str; 11] = [
    "event_id",
    "stream_ordering",
    "topological_ordering",
    "room_id",
    "outlier",
    "rejected",
    "state_group",
    "is_redacted",
    "internal_metadata",
    "format_version",
    "json",
];
/// The same of [`WHOLE_TABLES`].
pub(super) const WHOLE_COLUMNS: &str = columns!("x.redacts IS NOT NULL");
/// The reason of an event without a row in `event_json`.
pub(super) const JSON_MISSING: &str = "event-json-missing";
/// The reason of a row whose room is another one than its event's.
pub(super) const FOREIGN: &str = "event-foreign";
/// Where to select it from.
pub(super) const TABLES: &str = concat!("events e ", joined!());
/// The same for many events: all redactions are read.
pub(super) const WHOLE_TABLES: &str = concat!(
    "events e ",
    joined!(),
    " LEFT JOIN (SELECT DISTINCT redacts FROM redactions) x ON x.redacts = e.event_id"
);
/// The same of forward extremities.
pub(super) const EXTREMITIES: &str =
    concat!("event_forward_extremities x JOIN events e ON e.event_id = x.event_id ", joined!());

row! {
    /// A row of `events` with what belongs to it: [`COLUMNS`].
    #[derive(Clone, Debug)]
    pub(super) struct EventRow {
        pub(super) event_id: OwnedEventId,
        /// `stream_ordering`.
        stream: i64,
        /// `topological_ordering`.
        topological: i64,
        pub(super) room_id: String,
        pub(super) outlier: bool,
        pub(super) rejected: bool,
        /// The state group *after* the event; outliers have none.
        pub(super) group: Option<i64>,
        /// Some event names this one in `redacts`.
        pub(super) is_redacted: bool,
        /// `internal_metadata`.
        pub(super) metadata: EventMetadata,
        /// `format_version`. NULL: from before there were formats.
        format: Option<i64>,
        pub(super) json: String,
    }
}

/// An [`EventRow`] whose JSON has been read.
#[derive(Clone, Debug)]
pub(super) struct StoredEvent<'a> {
    pub(super) row: &'a EventRow,
    pub(super) pdu: Pdu<'a>,
}

/// `internal_metadata`. Any value but `true` is *false*.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct EventMetadata {
    pub(super) soft_failed: Flag,
    /// An invite, knock or leave in a room that the server is not in.
    pub(super) out_of_band_membership: Flag,
    /// A redaction that holds only if it comes from the sender's own server.
    pub(super) recheck_redaction: Flag,
}

/// A flag of [`EventMetadata`].
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(from = "serde_json::Value")]
pub(super) struct Flag(pub(super) bool);

impl From<serde_json::Value> for Flag {
    fn from(value: serde_json::Value) -> Self {
        Self(value == serde_json::Value::Bool(true))
    }
}

impl FromValue for EventMetadata {
    const REASON: &'static str = "json-invalid";
    const EXPECTED: &'static str = "JSON";

    /// JSON that is no object has no flags.
    fn from_value(value: &Value<'_>) -> Option<Self> {
        let Value::Text(text) = value else { return None };
        match serde_json::from_str(text) {
            Ok(metadata) => Some(metadata),
            Err(error) if error.is_data() => Some(Self::default()),
            Err(_) => None,
        }
    }
}

impl EventRow {
    /// Decodes a row of [`COLUMNS`].
    pub(super) fn decode(row: Row<'_>) -> Result<Self, BrokenRow> {
        // Both are of a table that may have no row for the event.
        if row.is_null(8) && row.is_null(10) {
            return Err(BrokenRow::whole(
                JSON_MISSING,
                "the event has no row in `event_json`; Synapse can't show it either",
            ));
        }
        row.decode()
    }

    /// Its place in Synapse's stream of events.
    pub(super) fn position(&self) -> StreamPosition {
        StreamPosition::new(self.stream, self.topological)
    }

    /// Reads the JSON.
    pub(super) fn read(&self) -> Result<StoredEvent<'_>, BrokenRow> {
        let pdu = Pdu::parse(&self.json);
        let pdu = pdu.ok_or_else(|| BrokenRow::new("json", "json-invalid", "an event"))?;
        if pdu.room_id().is_some_and(|room| room != self.room_id) {
            return Err(BrokenRow::whole(
                FOREIGN,
                "the event's row names another room than the event itself; it moves with its own room if it has another row",
            ));
        }
        Ok(StoredEvent { row: self, pdu })
    }

    fn format(&self) -> i64 {
        self.format.unwrap_or(1)
    }

    /// Whether the room's state has gone through it.
    pub(super) fn is_accepted(&self) -> bool {
        !self.outlier && !self.rejected && !self.metadata.soft_failed.0
    }

    /// The event has its id inside (room versions 1 and 2).
    fn holds_id(&self) -> bool {
        self.format() == 1
    }
}

impl<'a> StoredEvent<'a> {
    /// Type and state key of a state event.
    pub(super) fn state_entry(&self) -> Option<Key> {
        Some((self.pdu.kind.to_string(), self.pdu.state_key.as_ref()?.to_string()))
    }

    /// Whether this is a room's first event.
    pub(super) fn is_create(&self) -> bool {
        self.pdu.kind == "m.room.create" && self.pdu.state_key.as_deref() == Some("")
    }

    /// The event for the dump, redacted if something redacted it.
    pub(super) fn dump(
        &'a self,
        room_version: Option<&str>,
        state_before: Option<u64>,
        redacted_by: Option<OwnedEventId>,
    ) -> Result<DumpEvent<EventForm<'a>>, Unredactable> {
        let pdu = if redacted_by.is_some() {
            EventForm::Made(self.redacted(room_version)?)
        } else {
            EventForm::Whole(self.pdu.signed(self.row.holds_id()))
        };
        Ok(DumpEvent {
            event_id: self.row.event_id.clone(),
            state_before,
            redacted_by,
            erased: false,
            stream: None,
            soft_failed: self.row.metadata.soft_failed.0,
            pdu,
        })
    }

    /// The redacted form. Synapse's row has the original until it is censored, a week later.
    fn redacted(&self, room_version: Option<&str>) -> Result<Box<RawValue>, Unredactable> {
        let rules = self.rules(room_version).ok_or(Unredactable::RoomVersion)?;
        let text = to_raw_value(&self.pdu.signed(self.row.holds_id()))
            .map_err(|_infallible| Unredactable::Json)?;
        let event: CanonicalJsonObject =
            serde_json::from_str(text.get()).map_err(|_canonical| Unredactable::Json)?;
        let event = redact(event, &rules.redaction, None).map_err(|_invalid| Unredactable::Json)?;
        to_raw_value(&event).map_err(|_infallible| Unredactable::Json)
    }

    /// The rules of the room's version; of an unknown one, those that go with the event's format.
    fn rules(&self, room_version: Option<&str>) -> Option<RoomVersionRules> {
        let version = match (room_version, self.row.format()) {
            (Some(version), _) => RoomVersionId::try_from(version).ok()?,
            (None, 1) => RoomVersionId::V1,
            (None, 2) => RoomVersionId::V3,
            (None, 3) => RoomVersionId::V5,
            (None, _) => return None,
        };
        version.rules()
    }
}

/// An event in the form that the dump has.
#[derive(Clone, Debug)]
pub(super) enum EventForm<'a> {
    Whole(Signed<'a>),
    /// Redacted, for one reason or another.
    Made(Box<RawValue>),
}

impl EventForm<'_> {
    /// The event as JSON of its own.
    pub(super) fn to_raw(&self) -> Result<Box<RawValue>, Unredactable> {
        to_raw_value(self).map_err(|_infallible| Unredactable::Json)
    }
}

impl Serialize for EventForm<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Whole(event) => event.serialize(serializer),
            Self::Made(event) => event.serialize(serializer),
        }
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
