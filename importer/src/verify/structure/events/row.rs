//! An event of a row, taken apart once for all that is checked of it. What is canonical JSON, as it should be, is borrowed
//! from the row; whatever is not, or is odd in another way, goes through parsers.

use std::borrow::Cow;

use ruma::{CanonicalJsonObject, CanonicalJsonValue};
use serde::Deserialize;

use crate::conduit::canonical_text::{Member, get, members, pick, plain, plain_items};

/// What Conduit's typed reader takes of an event (src/service/pdu.rs:32-54).
#[derive(Debug, PartialEq, Eq)]
pub(in crate::verify) struct Read<'a> {
    pub(in crate::verify) id: Cow<'a, str>,
    /// Its `room_id`, or for create events without one (room version 12) the id made of its own.
    pub(in crate::verify) room: Cow<'a, str>,
    pub(in crate::verify) kind: Cow<'a, str>,
    pub(in crate::verify) state_key: Option<Cow<'a, str>>,
    pub(in crate::verify) membership: Option<Cow<'a, str>>,
}

/// What ties an event to others, and what can be searched for.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::verify) struct Links<'a> {
    pub(in crate::verify) id: Cow<'a, str>,
    /// Its `room_id`.
    pub(in crate::verify) room: Option<Cow<'a, str>>,
    pub(in crate::verify) kind: Cow<'a, str>,
    pub(in crate::verify) state_key: Option<Cow<'a, str>>,
    pub(in crate::verify) previous: Vec<Cow<'a, str>>,
    /// The text of a message that is not redacted.
    pub(in crate::verify) body: Option<Cow<'a, str>>,
}

/// An event's id, and those of its auth events.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::verify) struct Auth<'a> {
    pub(in crate::verify) id: Cow<'a, str>,
    pub(in crate::verify) events: Vec<Cow<'a, str>>,
}

/// An event whose row is canonical JSON and holds all that it should.
pub(in crate::verify) struct Canonical<'a> {
    pub(in crate::verify) members: Vec<Member<'a>>,
    pub(in crate::verify) read: Read<'a>,
    pub(in crate::verify) links: Links<'a>,
    pub(in crate::verify) auth: Auth<'a>,
    /// Whether Conduit has redacted it.
    pub(in crate::verify) is_redacted: bool,
}

impl<'a> Canonical<'a> {
    /// `None` leaves the row to parsers.
    pub(in crate::verify) fn of(row: &'a [u8]) -> Option<Self> {
        let members = members(std::str::from_utf8(row).ok()?)?;
        let id = plain(get(&members, "event_id")?)?;
        Self::of_members(members, id)
    }

    /// The same, of an event that has its id elsewhere.
    pub(in crate::verify) fn of_members(event: Vec<Member<'a>>, id: &'a str) -> Option<Self> {
        let value = |name: &str| get(&event, name);
        ruma::UserId::parse(plain(value("sender")?)?).ok()?;
        for name in ["origin_server_ts", "depth"] {
            // Of canonical values, only integers that are not negative begin so.
            value(name)?.starts_with(|first: char| first.is_ascii_digit()).then_some(())?;
        }
        let [membership, body] = pick(value("content")?, ["membership", "body"])?;
        let [sha256] = pick(value("hashes")?, ["sha256"])?;
        plain(sha256?)?;
        let room_id = match value("room_id") {
            Some(room) => Some(plain(room)?),
            None => None,
        };
        let room = match room_id {
            Some(room) => Cow::Borrowed(room),
            None => Cow::Owned(format!("!{}", id.strip_prefix('$')?)),
        };
        let kind = plain(value("type")?)?;
        let state_key = match value("state_key") {
            None | Some("null") => None,
            Some(key) => Some(unescaped(key)?),
        };
        let membership = match membership {
            Some(membership) if membership.starts_with('"') => Some(unescaped(membership)?),
            _ => None,
        };
        let is_redacted = match value("unsigned") {
            None | Some("null") => false,
            // Readers differ on what `null` says.
            Some(unsigned) => match pick(unsigned, ["redacted_because"])? {
                [Some("null")] => return None,
                [because] => because.is_some(),
            },
        };
        let body = match body.filter(|_| kind == "m.room.message" && !is_redacted) {
            Some(body) if body.starts_with('"') => Some(unescaped(body)?),
            _ => None,
        };
        let borrowed = |items: Vec<&'a str>| items.into_iter().map(Cow::Borrowed).collect();
        let previous = borrowed(plain_items(value("prev_events")?)?);
        let events = borrowed(plain_items(value("auth_events")?)?);
        let (id, kind) = (Cow::Borrowed(id), Cow::Borrowed(kind));
        Some(Self {
            read: Read {
                id: id.clone(),
                room,
                kind: kind.clone(),
                state_key: state_key.clone(),
                membership,
            },
            links: Links {
                id: id.clone(),
                room: room_id.map(Cow::Borrowed),
                kind,
                state_key,
                previous,
                body,
            },
            auth: Auth { id, events },
            is_redacted,
            members: event,
        })
    }
}

/// A text that was found to be canonical; `None` if it is another value.
fn unescaped(value: &str) -> Option<Cow<'_, str>> {
    plain(value)
        .map_or_else(|| serde_json::from_str(value).ok().map(Cow::Owned), |text| Some(text.into()))
}

/// What Conduit's typed reader takes of parsed JSON.
pub(super) fn read(id: &str, json: &CanonicalJsonObject) -> Option<Read<'static>> {
    let ids = |name: &str| {
        let good = json.get(name)?.as_array()?.iter().all(|item| item.as_str().is_some());
        good.then_some(())
    };
    ruma::UserId::parse(text(json, "sender")?).ok()?;
    let number = |name: &str| match json.get(name) {
        Some(CanonicalJsonValue::Integer(number)) => u64::try_from(i64::from(*number)).ok(),
        _ => None,
    };
    number("origin_server_ts")?;
    number("depth")?;
    ids("prev_events")?;
    ids("auth_events")?;
    let content = json.get("content")?.as_object()?;
    text(json.get("hashes")?.as_object()?, "sha256")?;
    let owned = |text: &str| Cow::Owned(text.to_owned());
    Some(Read {
        id: owned(id),
        room: Cow::Owned(room_of(json)?),
        kind: owned(text(json, "type")?),
        state_key: text(json, "state_key").map(owned),
        membership: text(content, "membership").map(owned),
    })
}

/// The id of a row's event, if Conduit can read it.
pub(in crate::verify) fn readable_id(row: &[u8]) -> Option<String> {
    let json = serde_json::from_slice::<CanonicalJsonObject>(row).ok()?;
    let id = text(&json, "event_id")?;
    read(id, &json).map(|read| read.id.into_owned())
}

/// The room of an event.
fn room_of(json: &CanonicalJsonObject) -> Option<String> {
    match text(json, "room_id") {
        Some(room) => Some(room.to_owned()),
        None => Some(format!("!{}", text(json, "event_id")?.strip_prefix('$')?)),
    }
}

/// The text of a member.
pub(super) fn text<'a>(json: &'a CanonicalJsonObject, name: &str) -> Option<&'a str> {
    json.get(name)?.as_str()
}

/// The room version that a row's create event names, with its room; `None` if it is no create event.
pub(super) fn created(row: &[u8]) -> Option<(String, String)> {
    let row = std::str::from_utf8(row).ok().filter(|row| row.contains("\"m.room.create\""))?;
    let json = serde_json::from_str::<CanonicalJsonObject>(row).ok()?;
    text(&json, "type").filter(|kind| *kind == "m.room.create")?;
    let content = json.get("content").and_then(CanonicalJsonValue::as_object);
    let version = content.and_then(|content| text(content, "room_version")).unwrap_or("1");
    Some((room_of(&json)?, version.to_owned()))
}

impl Links<'static> {
    /// Those of a row, by a parser.
    pub(in crate::verify) fn parse(row: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Pdu {
            event_id: String,
            room_id: Option<String>,
            #[serde(rename = "type")]
            kind: String,
            state_key: Option<String>,
            prev_events: Vec<String>,
            content: Content,
            unsigned: Option<Unsigned>,
        }
        #[derive(Deserialize)]
        struct Content {
            #[serde(default)]
            body: Option<serde_json::Value>,
        }
        #[derive(Deserialize)]
        struct Unsigned {
            #[serde(default)]
            redacted_because: Option<serde::de::IgnoredAny>,
        }
        let pdu: Pdu = serde_json::from_slice(row).ok()?;
        let is_redacted = pdu.unsigned.is_some_and(|unsigned| unsigned.redacted_because.is_some());
        let body = match pdu.content.body {
            Some(serde_json::Value::String(body)) => Some(body),
            _ => None,
        };
        let body = body.filter(|_| pdu.kind == "m.room.message" && !is_redacted);
        Some(Self {
            id: pdu.event_id.into(),
            room: pdu.room_id.map(Cow::Owned),
            kind: pdu.kind.into(),
            state_key: pdu.state_key.map(Cow::Owned),
            previous: pdu.prev_events.into_iter().map(Cow::Owned).collect(),
            body: body.map(Cow::Owned),
        })
    }
}

impl Auth<'static> {
    /// Those of a row, by a parser.
    pub(in crate::verify) fn parse(row: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Pdu {
            event_id: String,
            auth_events: Vec<String>,
        }
        let pdu: Pdu = serde_json::from_slice(row).ok()?;
        let events = pdu.auth_events.into_iter().map(Cow::Owned).collect();
        Some(Self { id: pdu.event_id.into(), events })
    }
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, sample::select};
    use serde_json::{Value, json};

    use super::*;

    /// What is borrowed is what parsers take.
    fn check(row: &str) -> bool {
        let Some(event) = Canonical::of(row.as_bytes()) else { return false };
        let parsed: CanonicalJsonObject = serde_json::from_str(row).unwrap();
        assert_eq!(Some(event.read), read(&event.links.id, &parsed), "{row}");
        assert_eq!(Some(event.links), Links::parse(row.as_bytes()), "{row}");
        assert_eq!(Some(event.auth), Auth::parse(row.as_bytes()), "{row}");
        true
    }

    fn event() -> Value {
        json!({
            "auth_events": ["$a", "$b"], "content": {"body": "Hé \"x\"\n", "membership": "join"},
            "depth": 3, "event_id": "$e", "hashes": {"sha256": "x"}, "origin_server_ts": 0,
            "prev_events": ["$c"], "room_id": "!r:x", "sender": "@a:x", "signatures": {},
            "state_key": "a\\b", "type": "m.room.message", "unsigned": {"age": 1},
        })
    }

    #[test]
    fn a_sound_event_is_borrowed() {
        assert!(check(&event().to_string()));
        let mut create = event();
        create.as_object_mut().unwrap().remove("room_id");
        create["type"] = "m.room.create".into();
        assert!(check(&create.to_string()));
        assert_eq!(created(create.to_string().as_bytes()), Some(("!e".into(), "1".into())));
        assert_eq!(created(event().to_string().as_bytes()), None);
    }

    proptest! {
        #[test]
        fn an_odd_event_is_left_to_parsers_or_read_as_they_do(
            changes in proptest::collection::vec(
                (
                    select(vec![
                        "/auth_events", "/content", "/content/body", "/content/membership", "/depth", "/event_id",
                        "/hashes", "/hashes/sha256", "/origin_server_ts", "/prev_events", "/room_id", "/sender",
                        "/state_key", "/type", "/unsigned", "/unsigned/age",
                    ]),
                    select(vec![
                        json!(null), json!(1), json!(-1), json!("x"), json!("\n"), json!([]), json!(["a\n"]), json!([1]),
                        json!({}), json!({"redacted_because": null}), json!({"redacted_because": {}}), json!(true),
                        json!({"sha256": 1}), json!("@b:x"), json!("$f"),
                    ]),
                ),
                0..3,
            ),
            gone in proptest::option::of(select(vec!["content", "room_id", "state_key", "unsigned", "sender", "hashes", "depth"])),
        ) {
            let mut event = event();
            for (place, value) in changes {
                if let Some(found) = event.pointer_mut(place) {
                    *found = value;
                }
            }
            if let Some(gone) = gone {
                event.as_object_mut().unwrap().remove(gone);
            }
            check(&event.to_string());
        }
    }
}
