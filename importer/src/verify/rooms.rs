//! Rooms: extremities, and memberships against the current state.

use std::collections::BTreeSet;

use super::{
    VerifyError,
    events::{Events, value_of},
    found::Found,
    states,
};
use crate::conduit::{kv::KvStore, layout::Part, trees};

pub(super) fn check(
    store: &dyn KvStore,
    events: &Events,
    found: &mut Found,
) -> Result<(), VerifyError> {
    for row in store.scan(&trees::ROOMID_SHORTROOMID, &[])? {
        let (room, _) = row?;
        let room = String::from_utf8_lossy(&room).into_owned();
        let Some(state) = states::current(store, &room)? else {
            found.error("V111", &room, "has no current state");
            continue;
        };
        if !state.contains_key(&("m.room.create".to_owned(), String::new())) {
            found.error("V111", &room, "its state has no create event");
        }
        leaves(store, &room, events, found)?;
        memberships(store, &room, &state, events, found)?;
    }
    Ok(())
}

fn leaves(
    store: &dyn KvStore,
    room: &str,
    events: &Events,
    found: &mut Found,
) -> Result<(), VerifyError> {
    let prefix = trees::ROOMID_PDULEAVES.key(&[Part::Text(room), Part::Text("")]);
    let mut number = 0_u64;
    for row in store.scan(&trees::ROOMID_PDULEAVES, &prefix)? {
        let (_, event) = row?;
        let event = String::from_utf8_lossy(&event).into_owned();
        number = number.saturating_add(1);
        if !events.contains_key(&event) {
            found.error("V106", room, format!("its extremity {event} is not stored"));
        }
    }
    if number == 0 {
        found.error("V106", room, "has no forward extremity");
    }
    Ok(())
}

fn memberships(
    store: &dyn KvStore,
    room: &str,
    state: &states::State,
    events: &Events,
    found: &mut Found,
) -> Result<(), VerifyError> {
    let mut joined = BTreeSet::new();
    for ((kind, user), event) in state.iter().filter(|((kind, _), _)| kind == "m.room.member") {
        let Some(known) = events.get(event) else { continue };
        let membership = known.membership.as_deref().unwrap_or_default();
        if membership == "join" {
            joined.insert(user.clone());
        }
        let key = [Part::Text(user.as_str()), Part::Text(room)];
        let row = |tree| value_of(store, tree, &key).map(|value| value.is_some());
        let rows = [
            ("join", row(&trees::USERROOMID_JOINED)?),
            ("invite", row(&trees::USERROOMID_INVITESTATE)?),
            ("knock", row(&trees::USERROOMID_KNOCKSTATE)?),
            ("leave", row(&trees::USERROOMID_LEFTSTATE)?),
        ];
        let shown: Vec<_> =
            rows.iter().filter(|(_, there)| *there).map(|(name, _)| *name).collect();
        let fits = match membership {
            // No row at all: forgotten.
            "leave" | "ban" => shown.is_empty() || shown == ["leave"],
            other => shown == [other],
        };
        if !fits {
            let text = format!("{kind} says {membership}, the rows say {}", shown.join(" and "));
            found.error("V113", format!("{user} in {room}"), text);
        }
        if value_of(store, &trees::USERID_PASSWORD, &[Part::Text(user.as_str())])?.is_none() {
            found.error("V113", user, "is a member and has no row in `userid_password`");
        }
    }
    let prefix = trees::ROOMUSERID_JOINED.key(&[Part::Text(room), Part::Text("")]);
    let mut rows = BTreeSet::new();
    for row in store.scan(&trees::ROOMUSERID_JOINED, &prefix)? {
        let (key, _) = row?;
        if let Ok(fields) = trees::ROOMUSERID_JOINED.decode_key(&key) {
            rows.insert(fields.text("user").to_owned());
        }
    }
    for user in rows.difference(&joined) {
        found.error("V113", format!("{user} in {room}"), "has a row and no join event");
    }
    let count = value_of(store, &trees::ROOMID_JOINEDCOUNT, &[Part::Text(room)])?;
    let count = count.and_then(|count| count.try_into().ok()).map(u64::from_be_bytes);
    if count != u64::try_from(joined.len()).ok() {
        found.error("V113", room, format!("{} have joined, the count is {count:?}", joined.len()));
    }
    let prefix = trees::ROOMUSERID_INVITECOUNT.key(&[Part::Text(room), Part::Text("")]);
    let mut invited: u64 = 0;
    for row in store.scan(&trees::ROOMUSERID_INVITECOUNT, &prefix)? {
        row?;
        invited = invited.saturating_add(1);
    }
    let count = value_of(store, &trees::ROOMID_INVITEDCOUNT, &[Part::Text(room)])?;
    let count = count.and_then(|count| count.try_into().ok()).map(u64::from_be_bytes);
    if count.unwrap_or(0) != invited {
        found.error("V113", room, format!("{invited} are invited, the count is {count:?}"));
    }
    servers(store, room, &joined, found)
}

/// Servers in a room are those of joined users.
fn servers(
    store: &dyn KvStore,
    room: &str,
    joined: &BTreeSet<String>,
    found: &mut Found,
) -> Result<(), VerifyError> {
    let expected: BTreeSet<_> = joined
        .iter()
        .filter_map(|user| user.split_once(':').map(|(_, server)| server.to_owned()))
        .collect();
    let mut stored = BTreeSet::new();
    let prefix = trees::ROOMSERVERIDS.key(&[Part::Text(room), Part::Text("")]);
    for row in store.scan(&trees::ROOMSERVERIDS, &prefix)? {
        let (key, _) = row?;
        if let Ok(fields) = trees::ROOMSERVERIDS.decode_key(&key) {
            stored.insert(fields.text("server").to_owned());
        }
    }
    for server in expected.difference(&stored) {
        found.error("V113", room, format!("its server {server} has no row"));
    }
    for server in stored.difference(&expected) {
        found.error("V113", room, format!("{server} has a row and nobody in it"));
    }
    Ok(())
}
