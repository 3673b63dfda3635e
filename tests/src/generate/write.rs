//! The rows that Synapse writes of an event, and of a room as it is at the end.

use anyhow::Context as _;
use serde_json::json;

use super::{
    World,
    room::{Made, Room},
    table::{
        CURRENT_STATE, DELTAS, EVENT_AUTH, EVENT_EDGES, EVENT_GROUPS, EVENT_JSON, EVENTS,
        EXTREMITIES, LOCAL_MEMBERSHIP, MEMBERSHIPS, REDACTIONS, RELATIONS, ROOM_ALIAS_SERVERS,
        ROOM_ALIASES, ROOM_DEPTH, ROOM_STATS, ROOM_STATS_STATE, ROOMS, STATE_EVENTS,
        STATE_GROUP_EDGES, STATE_GROUPS, STATE_GROUPS_STATE, Searchable, Sink, THREADS, Value,
    },
};

/// All rows of an event that don't change when more events come.
pub(super) fn event(sink: &mut dyn Sink, event: &Made) -> anyhow::Result<()> {
    let (id, room_id) = (event.event_id.as_str(), event.room_id.as_str());
    let state_key = event.state_key.as_deref();
    let url = event.content["url"].is_string();
    sink.row(
        &EVENTS,
        &[
            event.stream.into(),
            event.depth.into(),
            id.into(),
            event.kind.into(),
            room_id.into(),
            true.into(),
            false.into(),
            event.depth.into(),
            event.ts.into(),
            (event.ts + 20).into(),
            (&event.sender).into(),
            url.into(),
            "master".into(),
            state_key.into(),
        ],
    )?;
    let mut metadata = json!({"device_id": event.device});
    if state_key.is_none() {
        metadata["txn_id"] = format!("m{}", event.stream).into();
    }
    let metadata = metadata.to_string();
    let json = event.json.as_str();
    sink.row(
        &EVENT_JSON,
        &[id.into(), room_id.into(), (&metadata).into(), json.into(), event.format.into()],
    )?;
    for prev in &event.prev {
        sink.row(&EVENT_EDGES, &[id.into(), prev.into(), false.into()])?;
    }
    for auth in &event.auth {
        sink.row(&EVENT_AUTH, &[id.into(), auth.into(), room_id.into()])?;
    }
    for group in &event.groups {
        sink.row(&STATE_GROUPS, &[group.id.into(), room_id.into(), id.into()])?;
        if let Some(previous) = group.previous {
            sink.row(&STATE_GROUP_EDGES, &[group.id.into(), previous.into()])?;
        }
        for (kind, key, event_id) in &group.entries {
            let entry: [Value<'_>; 5] =
                [group.id.into(), room_id.into(), kind.into(), key.into(), event_id.into()];
            sink.row(&STATE_GROUPS_STATE, &entry)?;
        }
    }
    sink.row(&EVENT_GROUPS, &[id.into(), event.group.into()])?;
    if let Some(state_key) = state_key {
        state(sink, event, state_key)?;
    }
    if let Some(redacts) = &event.redacts {
        let row = [id.into(), redacts.into(), false.into(), event.ts.into(), false.into()];
        sink.row(&REDACTIONS, &row)?;
    }
    let relation = &event.content["m.relates_to"];
    if let (Some(kind), Some(to)) = (relation["rel_type"].as_str(), relation["event_id"].as_str()) {
        sink.row(
            &RELATIONS,
            &[id.into(), to.into(), kind.into(), relation["key"].as_str().into()],
        )?;
    }
    words(sink, event)
}

fn state(sink: &mut dyn Sink, event: &Made, state_key: &str) -> anyhow::Result<()> {
    let (id, room_id, kind) = (event.event_id.as_str(), event.room_id.as_str(), event.kind);
    sink.row(&STATE_EVENTS, &[id.into(), room_id.into(), kind.into(), state_key.into()])?;
    sink.row(
        &DELTAS,
        &[
            event.stream.into(),
            room_id.into(),
            kind.into(),
            state_key.into(),
            id.into(),
            event.replaces.as_deref().into(),
            "master".into(),
        ],
    )?;
    if kind == "m.room.member" {
        let text = |name: &str| event.content[name].as_str();
        sink.row(
            &MEMBERSHIPS,
            &[
                id.into(),
                state_key.into(),
                (&event.sender).into(),
                room_id.into(),
                text("membership").into(),
                text("displayname").into(),
                text("avatar_url").into(),
                event.stream.into(),
                (text("membership") == Some("join")).into(),
            ],
        )?;
    }
    Ok(())
}

fn words(sink: &mut dyn Sink, event: &Made) -> anyhow::Result<()> {
    let (key, field) = match event.kind {
        "m.room.message" => ("content.body", "body"),
        "m.room.name" => ("content.name", "name"),
        "m.room.topic" => ("content.topic", "topic"),
        _ => return Ok(()),
    };
    let Some(value) = event.content[field].as_str() else { return Ok(()) };
    sink.words(&Searchable {
        event_id: &event.event_id,
        room_id: &event.room_id,
        key,
        value,
        origin_server_ts: event.ts,
        stream: event.stream,
    })
}

/// The rows of a room as it is when its last event has come.
pub(super) fn room(sink: &mut dyn Sink, world: &World, room: &Room) -> anyhow::Result<()> {
    let id = room.id.as_str();
    let creator = &world.people[room.creator];
    sink.row(
        &ROOMS,
        &[
            id.into(),
            room.traits.public.into(),
            (&creator.id).into(),
            room.version.name.into(),
            false.into(),
        ],
    )?;
    sink.row(&ROOM_DEPTH, &[id.into(), 1.into()])?;
    if room.traits.public {
        let alias = room.alias(world);
        sink.row(&ROOM_ALIASES, &[(&alias).into(), id.into(), (&creator.id).into()])?;
        sink.row(&ROOM_ALIAS_SERVERS, &[(&alias).into(), (&world.server.name).into()])?;
    }
    for tip in &room.tips {
        sink.row(&EXTREMITIES, &[(&tip.event_id).into(), id.into()])?;
    }
    for (root, thread) in &room.threads {
        sink.row(
            &THREADS,
            &[
                id.into(),
                root.into(),
                (&thread.latest).into(),
                thread.depth.into(),
                thread.stream.into(),
            ],
        )?;
    }
    let mut counts = std::collections::BTreeMap::<&str, i64>::new();
    for ((kind, key), current) in &room.state {
        let membership =
            (kind == "m.room.member").then(|| current.content["membership"].as_str()).flatten();
        sink.row(
            &CURRENT_STATE,
            &[
                (&current.event_id).into(),
                id.into(),
                kind.into(),
                key.into(),
                membership.into(),
                current.stream.into(),
            ],
        )?;
        if let Some(membership) = membership {
            *counts.entry(membership).or_default() += 1;
            let event_id = (&current.event_id).into();
            let row = [id.into(), key.into(), event_id, membership.into(), current.stream.into()];
            sink.row(&LOCAL_MEMBERSHIP, &row)?;
        }
    }
    statistics(sink, room, &counts)
}

fn statistics(
    sink: &mut dyn Sink,
    room: &Room,
    counts: &std::collections::BTreeMap<&str, i64>,
) -> anyhow::Result<()> {
    let count = |membership: &str| Value::Int(counts.get(membership).copied().unwrap_or(0));
    let newest = room.state.values().map(|current| current.stream).max().context("has events")?;
    let entries = i64::try_from(room.state.len())?;
    sink.row(
        &ROOM_STATS,
        &[
            (&room.id).into(),
            entries.into(),
            count("join"),
            count("invite"),
            count("leave"),
            count("ban"),
            count("join"),
            newest.into(),
            0.into(),
        ],
    )?;
    let text = |kind: &str, field: &str| {
        let entry = room.state.get(&(kind.to_owned(), String::new()));
        Value::from(entry.and_then(|entry| entry.content[field].as_str()))
    };
    sink.row(
        &ROOM_STATS_STATE,
        &[
            (&room.id).into(),
            text("m.room.name", "name"),
            text("m.room.canonical_alias", "alias"),
            text("m.room.join_rules", "join_rule"),
            text("m.room.history_visibility", "history_visibility"),
            text("m.room.encryption", "algorithm"),
            true.into(),
            text("m.room.topic", "topic"),
        ],
    )
}
