//! Rooms: state, extremities, and who is in them.

use super::{Context, events::Events, membership, states};
use crate::{
    conduit::{
        schema::{shapes::RoomEvent, trees},
        store::KvRead,
    },
    findings::{codes, collector::Findings},
    verify::{
        VerifyError,
        tools::{lookup::beginning, parts},
    },
};

pub(in crate::verify) fn check(
    store: &dyn KvRead,
    context: &Context<'_>,
    found: &mut Findings,
) -> Result<(), VerifyError> {
    let mut rooms = Vec::new();
    for row in store.scan(&trees::ROOMID_SHORTROOMID, &[])? {
        let (room, _) = row?;
        rooms.push(String::from_utf8_lossy(&room).into_owned());
    }
    let of_room = |store: &dyn KvRead, name: &String| {
        let mut found = Findings::default();
        room(store, name, context, &mut found)?;
        Ok(found)
    };
    parts::work(store, &rooms, of_room, |of_room| {
        found.merge(of_room);
        Ok(())
    })?;
    membership::check_rooms_exist(store, found)?;
    for row in store.scan(&trees::ROOMID_SHORTSTATEHASH, &[])? {
        let (room, _) = row?;
        if store.get(&trees::ROOMID_SHORTROOMID, &room)?.is_none() {
            let room = String::from_utf8_lossy(&room).into_owned();
            found.add(&codes::ROWS_DISAGREE, room, "has a state and no short id");
        }
    }
    Ok(())
}

fn room(
    store: &dyn KvRead,
    room: &str,
    context: &Context<'_>,
    found: &mut Findings,
) -> Result<(), VerifyError> {
    let Some(state) = states::current(store, room)? else {
        found.add(&codes::STATE_UNSOUND, room, "has no current state");
        return Ok(());
    };
    let create = states::short_key(store, "m.room.create", "")?;
    if create.and_then(|key| state.get(key)).is_none() {
        found.add(&codes::STATE_UNSOUND, room, "its state has no create event");
    }
    leaves(store, room, context.events, found)?;
    membership::check(store, context, room, &state, found)
}

fn leaves(
    store: &dyn KvRead,
    room: &str,
    events: &Events,
    found: &mut Findings,
) -> Result<(), VerifyError> {
    let mut number = 0_u64;
    for row in beginning(store, &trees::ROOMID_PDULEAVES, &RoomEvent { room, event: "" })? {
        let (_, event) = row?;
        let event = String::from_utf8_lossy(&event).into_owned();
        number += 1;
        if events.get(&event).is_none() {
            found.add(&codes::ROWS_DISAGREE, room, format!("its extremity {event} is not stored"));
        }
    }
    if number == 0 {
        found.add(&codes::ROWS_DISAGREE, room, "has no forward extremity");
    }
    Ok(())
}
