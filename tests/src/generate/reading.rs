//! What people have read of a room, and what they have not.

use std::collections::BTreeMap;

use serde_json::json;

use super::{
    World,
    random::Random,
    room::{Message, Room},
    table::{PUSH_SUMMARY, RECEIPTS, ROOM_ACCOUNT_DATA, Sink, TAGS},
};

/// Numbers that go up with each row of their kind.
#[derive(Debug)]
pub(super) struct Streams {
    pub(super) receipts: i64,
    pub(super) account_data: i64,
    /// The newest event.
    pub(super) events: i64,
}

/// Everybody in the room has read something: most of them everything.
pub(super) fn room(
    sink: &mut dyn Sink,
    world: &World,
    room: &Room,
    streams: &mut Streams,
) -> anyhow::Result<()> {
    let mut random = Random::new(world.shape.seed, "reading", room.number);
    if room.recent.is_empty() {
        return Ok(());
    }
    let mut joined = room.joined.clone();
    joined.sort_unstable();
    for person in joined {
        let last = room.recent.len() - 1;
        let place = if random.chance(0.85) { last } else { random.below(last + 1) };
        let read = &room.recent[place];
        let (user_id, room_id) = (world.people[person].id.as_str(), room.id.as_str());
        streams.receipts += 1;
        let data = json!({"ts": super::START + read.stream * 1000}).to_string();
        sink.row(
            &RECEIPTS,
            &[
                streams.receipts.into(),
                room_id.into(),
                "m.read".into(),
                user_id.into(),
                (&read.event_id).into(),
                read.stream.into(),
                (&data).into(),
                "master".into(),
            ],
        )?;
        streams.account_data += 1;
        let marker = json!({"event_id": read.event_id}).to_string();
        sink.row(
            &ROOM_ACCOUNT_DATA,
            &[
                user_id.into(),
                room_id.into(),
                "m.fully_read".into(),
                streams.account_data.into(),
                (&marker).into(),
                "master".into(),
            ],
        )?;
        if random.chance(0.05) {
            sink.row(&TAGS, &[user_id.into(), room_id.into(), "m.favourite".into(), "{}".into()])?;
        }
        for (thread, count) in unread(&room.recent[place + 1..], person) {
            sink.row(
                &PUSH_SUMMARY,
                &[
                    user_id.into(),
                    room_id.into(),
                    count.into(),
                    streams.events.into(),
                    0.into(),
                    read.stream.into(),
                    thread.into(),
                ],
            )?;
        }
    }
    Ok(())
}

/// How many events somebody would be told of, by thread.
fn unread(messages: &[Message], person: usize) -> BTreeMap<&str, i64> {
    let mut counts = BTreeMap::new();
    for message in messages {
        if message.notifies && message.sender != person {
            *counts.entry(message.thread.as_deref().unwrap_or("main")).or_default() += 1;
        }
    }
    counts
}
