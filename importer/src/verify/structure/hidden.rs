//! Events outside the timelines: Conduit's `/event` returns each of them to everybody whom its state allows to see it, and
//! to everybody if it has none (src/service/rooms/state_accessor/mod.rs:170-225). On Synapse no client sees one
//! (synapse/visibility.py:426-443).

use std::collections::BTreeMap;

use serde::Deserialize;

use super::states;
use crate::{
    conduit::{
        schema::{shapes, trees},
        store::KvRead,
    },
    findings::{codes, collector::Findings},
    verify::{
        VerifyError,
        tools::{
            lookup::get,
            parts::{self, Part},
            since_import::SinceImport,
            state_layers::Layers,
        },
    },
};

/// What a state lets this server's users see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sight {
    Nobody,
    Everybody,
    Members,
}

pub(in crate::verify) fn check(
    store: &dyn KvRead,
    server_name: &str,
    since: SinceImport,
    found: &mut Findings,
) -> Result<(), VerifyError> {
    let of_part = |store: &dyn KvRead, part: Part| {
        let mut found = Findings::default();
        let mut sights =
            Sights { store, server_name, layers: Layers::new(store), known: BTreeMap::new() };
        part.each(store, |id, _| sights.event(id, since, &mut found))?;
        Ok(found)
    };
    parts::work(store, Part::of(store, &trees::EVENTID_OUTLIERPDU)?, of_part, |of_part| {
        found.merge(of_part);
        Ok(())
    })
}

/// What states let people see, as far as it was asked for.
struct Sights<'a> {
    store: &'a dyn KvRead,
    server_name: &'a str,
    layers: Layers<'a>,
    known: BTreeMap<u64, Sight>,
}

impl Sights<'_> {
    fn event(
        &mut self,
        id: &[u8],
        since: SinceImport,
        found: &mut Findings,
    ) -> Result<(), VerifyError> {
        let store = self.store;
        let short = states::number(store, &trees::EVENTID_SHORTEVENTID, id)?;
        let tree = &trees::SHORTEVENTID_SHORTSTATEHASH;
        let state = match short {
            Some(short) => states::number(store, tree, &short.to_be_bytes())?,
            None => None,
        };
        // What Conduit has stored itself, it has stored in its own way.
        if since.has_run() && short.is_none_or(|short| since.is_new(short)) {
            return Ok(());
        }
        let text = match state {
            None => "is outside of the timeline and has no state",
            Some(state) => match self.sight(state)? {
                Sight::Nobody => return Ok(()),
                Sight::Everybody => "is outside of the timeline, and its state hides nothing",
                Sight::Members => "is outside of the timeline, and members are shown it",
            },
        };
        found.add(&codes::OUTLIER_VISIBLE, String::from_utf8_lossy(id), text);
        Ok(())
    }

    fn sight(&mut self, state: u64) -> Result<Sight, VerifyError> {
        if let Some(sight) = self.known.get(&state) {
            return Ok(*sight);
        }
        let sight = sight(self.store, self.server_name, state, &mut self.layers)?;
        self.known.insert(state, sight);
        Ok(sight)
    }
}

fn sight(
    store: &dyn KvRead,
    server_name: &str,
    state: u64,
    layers: &mut Layers<'_>,
) -> Result<Sight, VerifyError> {
    // A state that is not there makes an error of the answer, and V111 of itself.
    let Some(state) = layers.state(state)? else { return Ok(Sight::Nobody) };
    let key = states::short_key(store, "m.room.history_visibility", "")?;
    let event = match key.and_then(|key| state.get(key)) {
        Some(short) => event(store, short)?,
        None => None,
    };
    let visibility = event.and_then(|event| event.content.history_visibility);
    Ok(match visibility.as_deref().unwrap_or("shared") {
        "world_readable" => Sight::Everybody,
        "shared" => Sight::Members,
        word @ ("invited" | "joined") => {
            for (key, short) in state.entries() {
                let Some((kind, user)) = states::key_name(store, key)? else { continue };
                let is_own = user.split_once(':').is_some_and(|(_, name)| name == server_name);
                if kind != "m.room.member" || !is_own {
                    continue;
                }
                let membership = event_of(store, short)?.unwrap_or_default();
                if membership == "join" || (word == "invited" && membership == "invite") {
                    return Ok(Sight::Members);
                }
            }
            Sight::Nobody
        }
        // Conduit shows what it does not understand to nobody.
        _ => Sight::Nobody,
    })
}

#[derive(Deserialize)]
struct Event {
    content: Content,
}

#[derive(Deserialize)]
struct Content {
    #[serde(default)]
    history_visibility: Option<String>,
    #[serde(default)]
    membership: Option<String>,
}

/// The membership that an event sets.
fn event_of(store: &dyn KvRead, short: u64) -> Result<Option<String>, VerifyError> {
    Ok(event(store, short)?.and_then(|event| event.content.membership))
}

/// An event, wherever it is.
fn event(store: &dyn KvRead, short: u64) -> Result<Option<Event>, VerifyError> {
    let Some(id) = store.get(&trees::SHORTEVENTID_EVENTID, &short.to_be_bytes())? else {
        return Ok(None);
    };
    let Ok(id) = String::from_utf8(id) else { return Ok(None) };
    let id = shapes::Event { event: &id };
    let json = match get(store, &trees::EVENTID_PDUID, &id)? {
        Some(place) => store.get(&trees::PDUID_PDU, &place)?,
        None => get(store, &trees::EVENTID_OUTLIERPDU, &id)?,
    };
    Ok(json.and_then(|json| serde_json::from_slice(&json).ok()))
}

#[cfg(test)]
mod tests;
