//! Timeline events in their order: the state before each follows from the one before its predecessor, and what Conduit
//! derives from events is there.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::{events::Places, states};
use crate::{
    conduit::{
        schema::{layout::Part, trees},
        store::KvStore,
    },
    counted::count,
    findings::{codes, collector::Found},
    verify::{
        VerifyError,
        tools::{
            multiset_hash::{Sum, hash},
            number_set::Numbers,
            parallel_scan,
            state_layers::Layers,
        },
    },
};

/// Longest word of the search index, in bytes (src/database/key_value/rooms/search.rs:9-14).
const LONGEST_WORD: usize = 50;

/// What is needed of a stored event; the rest has been checked.
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

#[derive(Default, Deserialize)]
struct Content {
    #[serde(default)]
    body: Option<serde_json::Value>,
}

#[derive(Default, Deserialize)]
struct Unsigned {
    #[serde(default)]
    redacted_because: Option<serde::de::IgnoredAny>,
}

/// The last event of a room whose timeline was one chain so far.
struct Last {
    id: String,
    /// Type and state key of a state event.
    names: Option<(String, String)>,
    /// The short ids of itself and of the state before it.
    place: Option<(u64, u64)>,
}

/// What is compared at the end of a room.
struct Room<'a> {
    name: &'a str,
    short: u64,
    leaves: BTreeSet<u64>,
    /// Hashes of the events that others follow.
    previous: BTreeSet<u64>,
    chain: Chain,
}

enum Chain {
    /// Nothing came yet.
    Begin,
    After(Last),
    Broken,
}

pub(in crate::verify) fn check(store: &dyn KvStore, found: &mut Found) -> Result<(), VerifyError> {
    let rooms = rooms(store)?;
    let mut layers = Layers::new(store);
    let mut places = Places::new(store)?;
    let mut counts = Numbers::default();
    let (mut said, mut indexed) = (Sum::default(), Sum::default());
    let mut room: Option<Room<'_>> = None;
    let look = |key: &[u8], value: &[u8]| {
        let id = trees::PDUID_PDU.decode_key(key).ok()?;
        let pdu = serde_json::from_slice::<Pdu>(value).ok()?;
        let short_room = id.u64("short_room");
        let words: Vec<_> =
            words(&pdu).iter().map(|word| hash(&*token(short_room, word, key))).collect();
        let count = id.get("count").map(|_| id.u64("count"));
        Some((short_room, count, pdu, words))
    };
    parallel_scan::scan(store, &trees::PDUID_PDU, &[], look, |_, _, looked| {
        let Some((short_room, count, pdu, words)) = looked else { return Ok(()) };
        counts.insert(count.unwrap_or(0));
        for word in words {
            said.add(word);
        }
        let Some(name) = rooms.get(&short_room) else {
            found.add(&codes::ROWS_DISAGREE, &pdu.event_id, "is in a room without a short id");
            return Ok(());
        };
        if pdu.room_id.as_ref().is_some_and(|named| named != name) {
            found.add(
                &codes::ROWS_DISAGREE,
                &pdu.event_id,
                format!("is stored in {name} but belongs to another room"),
            );
        }
        if room.as_ref().is_none_or(|room| room.short != short_room)
            && let Some(done) = room.replace(Room::new(store, name, short_room)?)
        {
            done.references(store, found)?;
        }
        if let Some(room) = &mut room {
            room.event(pdu, count, &mut places, &mut layers, found)?;
        }
        Ok(())
    })?;
    if let Some(done) = room {
        done.references(store, found)?;
    }
    relations(store, &counts, found)?;
    parallel_scan::scan(
        store,
        &trees::TOKENIDS,
        &[],
        |key, _| hash(key),
        |_, _, word| {
            indexed.add(word);
            Ok(())
        },
    )?;
    if said == indexed { Ok(()) } else { words_one_by_one(store, found) }
}

/// Names the messages whose words are not in the search index, and says how many words are there that nobody said.
fn words_one_by_one(store: &dyn KvStore, found: &mut Found) -> Result<(), VerifyError> {
    let mut words: u64 = 0;
    for row in store.scan(&trees::PDUID_PDU, &[])? {
        let (key, value) = row?;
        let (Ok(id), Ok(pdu)) =
            (trees::PDUID_PDU.decode_key(&key), serde_json::from_slice::<Pdu>(&value))
        else {
            continue;
        };
        words = words.saturating_add(in_index(store, id.u64("short_room"), &key, &pdu, found)?);
    }
    let mut rows: u64 = 0;
    for row in store.scan(&trees::TOKENIDS, &[])? {
        row?;
        rows = rows.saturating_add(1);
    }
    if rows > words {
        let text =
            format!("has {}, the messages have {}", count(rows, "row"), count(words, "word"));
        found.add(&codes::SEARCH_INDEX_WRONG, trees::TOKENIDS.name, text);
    }
    Ok(())
}

fn rooms(store: &dyn KvStore) -> Result<BTreeMap<u64, String>, VerifyError> {
    let mut rooms = BTreeMap::new();
    for row in store.scan(&trees::ROOMID_SHORTROOMID, &[])? {
        let (key, value) = row?;
        if let (Ok(room), Ok(fields)) =
            (std::str::from_utf8(&key), trees::ROOMID_SHORTROOMID.decode_value(&key, &value))
        {
            rooms.insert(fields.u64("short_room"), room.to_owned());
        }
    }
    Ok(rooms)
}

impl<'a> Room<'a> {
    fn new(store: &dyn KvStore, name: &'a str, short: u64) -> Result<Self, VerifyError> {
        let prefix = trees::ROOMID_PDULEAVES.key(&[Part::Text(name), Part::Text("")]);
        let mut leaves = BTreeSet::new();
        for row in store.scan(&trees::ROOMID_PDULEAVES, &prefix)? {
            leaves.insert(hash(&*row?.1));
        }
        Ok(Self { name, short, leaves, previous: BTreeSet::new(), chain: Chain::Begin })
    }

    /// In a chain, after one predecessor that is a timeline event too, the state before is the one before that, with its
    /// effect.
    fn event(
        &mut self,
        pdu: Pdu,
        count: Option<u64>,
        places: &mut Places<'_>,
        layers: &mut Layers<'_>,
        found: &mut Found,
    ) -> Result<(), VerifyError> {
        let previous = pdu.prev_events.iter().filter(|id| id.starts_with('$'));
        self.previous.extend(previous.map(|id| hash(id.as_bytes())));
        let place = places.before(&pdu.event_id, count)?;
        // After a fork, Conduit gives an event of its own the room's resolved state, not that after its predecessor
        // (src/service/rooms/state/mod.rs:192-202).
        let follows = match &self.chain {
            Chain::Begin => pdu.prev_events.len() < 2,
            Chain::After(last) => {
                pdu.prev_events.len() < 2 && pdu.prev_events.first() == Some(&last.id)
            }
            Chain::Broken => false,
        };
        if follows
            && let Chain::After(last) = &self.chain
            && !last.leads_to(place, layers)?
        {
            let text = format!("the state before it is not the one after {}", last.id);
            found.add(&codes::STATE_BEFORE_DOES_NOT_FOLLOW, &pdu.event_id, text);
        }
        self.chain = if follows {
            let names = pdu.state_key.map(|key| (pdu.kind, key));
            Chain::After(Last { id: pdu.event_id, names, place })
        } else {
            Chain::Broken
        };
        Ok(())
    }

    /// Each predecessor is referenced unless it is an extremity, which must not be
    /// (src/service/rooms/event_handler/mod.rs:894-912).
    fn references(self, store: &dyn KvStore, found: &mut Found) -> Result<(), VerifyError> {
        let prefix = trees::REFERENCEDEVENTS.key(&[Part::Text(self.name), Part::Text("$")]);
        let mut missing = self.previous;
        for row in store.scan(&trees::REFERENCEDEVENTS, &prefix)? {
            let (key, _) = row?;
            let Ok(fields) = trees::REFERENCEDEVENTS.decode_key(&key) else { continue };
            let event = fields.text("event");
            let known = hash(event.as_bytes());
            missing.remove(&known);
            if self.leaves.contains(&known) {
                found.add(
                    &codes::EXTREMITY_REFERENCED,
                    event,
                    "is an extremity and marked as referenced",
                );
            }
        }
        missing.retain(|event| !self.leaves.contains(event));
        if missing.is_empty() {
            return Ok(());
        }
        for row in store.scan(&trees::PDUID_PDU, &self.short.to_be_bytes())? {
            let (_, value) = row?;
            let Ok(pdu) = serde_json::from_slice::<Pdu>(&value) else { continue };
            let is_missing = |id: &&String| missing.contains(&hash(id.as_bytes()));
            for previous in pdu.prev_events.iter().filter(is_missing) {
                let text = format!("{previous}, which precedes it, is not marked as referenced");
                found.add(&codes::REFERENCE_MISSING, &pdu.event_id, text);
            }
        }
        Ok(())
    }
}

impl Last {
    /// Whether the state before the next event is the one before this, with its effect.
    fn leads_to(
        &self,
        next: Option<(u64, u64)>,
        layers: &mut Layers<'_>,
    ) -> Result<bool, VerifyError> {
        // The create event has no state before it; what follows it has just that in its state.
        let (Some((event, earlier)), Some((_, own))) = (self.place, next) else { return Ok(true) };
        let effect = match &self.names {
            Some((kind, key)) => states::short_key(layers.store(), kind, key)?,
            None => None,
        };
        if effect.is_none() && own == earlier {
            return Ok(true);
        }
        let (Some(earlier), Some(own)) = (layers.state(earlier)?, layers.state(own)?) else {
            return Ok(true);
        };
        let keys = earlier.differing(&own).into_iter().chain(effect);
        let expected = |key| if effect == Some(key) { Some(event) } else { earlier.get(key) };
        Ok(keys.into_iter().all(|key| own.get(key) == expected(key)))
    }
}

/// The words of a message that can be searched for, each once.
fn words(pdu: &Pdu) -> BTreeSet<String> {
    let body = pdu.content.body.as_ref().and_then(serde_json::Value::as_str);
    let unsigned = pdu.unsigned.as_ref();
    let is_redacted = unsigned.is_some_and(|unsigned| unsigned.redacted_because.is_some());
    let is_message = pdu.kind == "m.room.message" && !is_redacted;
    body.filter(|_| is_message)
        .unwrap_or_default()
        .split(|letter: char| !letter.is_alphanumeric())
        .filter(|word| !word.is_empty() && word.len() <= LONGEST_WORD)
        .map(str::to_lowercase)
        .collect()
}

/// The key of a word in the search index.
fn token(short_room: u64, word: &str, pdu_id: &[u8]) -> Vec<u8> {
    [&short_room.to_be_bytes(), word.as_bytes(), &[0xff], pdu_id].concat()
}

/// How many words of a message are in the search index; all should be.
fn in_index(
    store: &dyn KvStore,
    short_room: u64,
    pdu_id: &[u8],
    pdu: &Pdu,
    found: &mut Found,
) -> Result<u64, VerifyError> {
    let mut number: u64 = 0;
    for word in words(pdu) {
        if store.get(&trees::TOKENIDS, &token(short_room, &word, pdu_id))?.is_some() {
            number = number.saturating_add(1);
        } else {
            found.add(
                &codes::SEARCH_INDEX_WRONG,
                &pdu.event_id,
                "a word of it can't be searched for",
            );
        }
    }
    Ok(number)
}

/// Relations and threads name events that exist.
fn relations(store: &dyn KvStore, counts: &Numbers, found: &mut Found) -> Result<(), VerifyError> {
    for row in store.scan(&trees::TOFROM_RELATION, &[])? {
        let (key, _) = row?;
        let Ok(fields) = trees::TOFROM_RELATION.decode_key(&key) else { continue };
        let ends = [fields.u64("to_count"), fields.u64("from_count")];
        if ends.iter().any(|end| !counts.contains(*end)) {
            let text = "relates an event that does not exist";
            found.add(
                &codes::RELATION_DANGLING,
                format!("{} {ends:?}", trees::TOFROM_RELATION),
                text,
            );
        }
    }
    for row in store.scan(&trees::THREADID_USERIDS, &[])? {
        let (key, _) = row?;
        if store.get(&trees::PDUID_PDU, &key)?.is_none() {
            let subject = format!("{} {}", trees::THREADID_USERIDS, hex::encode(&key));
            found.add(&codes::RELATION_DANGLING, subject, "is a thread without its root");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
