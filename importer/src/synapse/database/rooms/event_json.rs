//! An event's JSON, scanned in place: its top-level values are borrowed, and not looked into unless they are needed.

use std::{borrow::Cow, fmt};

use ruma::{EventId, OwnedEventId};
use serde::{
    Deserialize, Serialize, Serializer,
    de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor},
    ser::SerializeMap as _,
};
use serde_json::value::RawValue;

/// An event: all its keys, and those that are needed of each.
#[derive(Clone, Debug)]
pub(super) struct Pdu<'a> {
    fields: Fields<'a>,
    pub(super) kind: Cow<'a, str>,
    pub(super) state_key: Option<Cow<'a, str>>,
    pub(super) sender: Cow<'a, str>,
}

impl<'a> Pdu<'a> {
    /// Reads an event. `None`: it is none, or has no type or sender.
    pub(super) fn parse(json: &'a str) -> Option<Self> {
        let fields: Fields<'a> = serde_json::from_str(json).ok()?;
        let text = |name| Some(fields.get::<Text<'a>>(name)?.0);
        Some(Self {
            kind: text("type")?,
            state_key: text("state_key"),
            sender: text("sender")?,
            fields,
        })
    }

    /// `room_id`. Create events of room version 12 have none.
    pub(super) fn room_id(&self) -> Option<Cow<'a, str>> {
        Some(self.fields.get::<Text<'a>>("room_id")?.0)
    }

    /// The events before this one.
    pub(super) fn prev_events(&self) -> Vec<OwnedEventId> {
        self.references("prev_events").filter_map(|id| id.as_ref().try_into().ok()).collect()
    }

    /// The events that allow this one.
    pub(super) fn auth_events(&self) -> impl Iterator<Item = Cow<'a, EventId>> + use<'a> {
        self.references("auth_events").filter_map(|id| match id {
            Cow::Borrowed(id) => <&EventId>::try_from(id).ok().map(Cow::Borrowed),
            Cow::Owned(id) => OwnedEventId::try_from(id).ok().map(Cow::Owned),
        })
    }

    /// `auth_events`, verbatim.
    pub(super) fn raw_auth_events(&self) -> &'a str {
        self.fields.raw("auth_events").map_or("", RawValue::get)
    }

    /// `unsigned.replaces_state`: the event that this one replaced in the state, as Synapse noted.
    pub(super) fn replaces_state(&self) -> Option<OwnedEventId> {
        let unsigned: Fields<'a> = self.fields.get("unsigned")?;
        unsigned.get::<Text<'a>>("replaces_state")?.0.as_ref().try_into().ok()
    }

    /// The list at `unsigned.KEY`.
    pub(super) fn unsigned_list(json: &str, key: &str) -> Option<Vec<Box<RawValue>>> {
        let fields: Fields<'_> = serde_json::from_str(json).ok()?;
        let unsigned: Fields<'_> = fields.get("unsigned")?;
        unsigned.get(key)
    }

    /// The event as it was signed. Some room versions have the id inside.
    pub(super) fn signed(&self, holds_id: bool) -> Signed<'_> {
        Signed { fields: &self.fields, holds_id }
    }

    fn references(&self, key: &str) -> impl Iterator<Item = Cow<'a, str>> + use<'a> {
        let references: Option<Vec<Reference<'a>>> = self.fields.get(key);
        references.into_iter().flatten().map(|Reference(id)| id)
    }
}

/// An event without what its server added.
#[derive(Clone, Copy, Debug)]
pub(super) struct Signed<'a> {
    fields: &'a Fields<'a>,
    holds_id: bool,
}

impl Serialize for Signed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (key, value) in &self.fields.0 {
            if key != "unsigned" && (self.holds_id || key != "event_id") {
                map.serialize_entry(key, value)?;
            }
        }
        map.end()
    }
}

/// The entries of an object. Of a doubled one the last counts, as for Synapse.
#[derive(Clone, Debug)]
struct Fields<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Fields<'a> {
    fn raw(&self, key: &str) -> Option<&'a RawValue> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| *value)
    }

    fn get<T: Deserialize<'a>>(&self, key: &str) -> Option<T> {
        serde_json::from_str(self.raw(key)?.get()).ok()
    }
}

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
                let mut fields: Vec<(Cow<'de, str>, &'de RawValue)> = Vec::with_capacity(16);
                while let Some((Text(key), value)) = map.next_entry()? {
                    match fields.iter_mut().find(|(name, _)| *name == key) {
                        Some(field) => field.1 = value,
                        None => fields.push((key, value)),
                    }
                }
                Ok(Fields(fields))
            }
        }

        deserializer.deserialize_map(Object)
    }
}

/// A text, borrowed if it has no escapes.
struct Text<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }

        deserializer.deserialize_str(Any)
    }
}

/// A reference to an event: the id, in room versions 1 and 2 with a hash.
struct Reference<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Reference<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct IdOrPair;

        impl<'de> Visitor<'de> for IdOrPair {
            type Value = Reference<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an event id, or one with a hash")
            }

            fn visit_borrowed_str<E>(self, id: &'de str) -> Result<Reference<'de>, E> {
                Ok(Reference(Cow::Borrowed(id)))
            }

            fn visit_str<E>(self, id: &str) -> Result<Reference<'de>, E> {
                Ok(Reference(Cow::Owned(id.to_owned())))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut pair: A) -> Result<Reference<'de>, A::Error> {
                let id = pair.next_element::<Text<'de>>()?;
                while pair.next_element::<IgnoredAny>()?.is_some() {}
                id.map(|Text(id)| Reference(id)).ok_or_else(|| serde::de::Error::custom("no id"))
            }
        }

        deserializer.deserialize_any(IdOrPair)
    }
}
