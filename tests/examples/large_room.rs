//! Makes a dump with one large room, to measure import and verification with: every event has real hashes and signatures.
//!
//! ```console
//! $ cargo run -p migration-tests --example large_room -- DIR [MEMBERS] [EVENTS]
//! $ /usr/bin/time -v target/debug/importer import --dump DIR --database DATABASE
//! $ /usr/bin/time -v target/debug/importer verify --dump DIR --database DATABASE
//! ```
//!
//! Half of the members are users of other servers. Every tenth timeline event changes the room's state.

use std::path::Path;

use anyhow::Context as _;
use conduit_backfill::{host::Pdu, testing::signed_event::EventSigner};
use importer::dump::{
    DumpWriter, RoomWriter,
    format::{DumpEvent, DumpRoom, DumpState, Manifest},
};
use ruma::RoomVersionId;
use serde_json::{Value, json};

const SEED: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
const SERVER: &str = "large.test";
const ROOM: &str = "!large:large.test";
const ADMIN: &str = "@admin:large.test";
/// Servers of the members from elsewhere.
const OTHER_SERVERS: usize = 500;
/// The first timestamp.
const START: usize = 1_600_000_000_000;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().context("say where the dump is to be")?;
    let mut number = |default| arguments.next().map_or(Ok(default), |text| text.parse::<usize>());
    let (members, events) = (number(100_000)?, number(200)?);

    let writer = DumpWriter::create(Path::new(&directory))?;
    writer.server(&from(json!({
        "server_name": SERVER, "signing_key": {"version": "a", "seed": SEED},
    }))?)?;
    writer.user(&from(json!({"user_id": ADMIN, "admin": true, "push_rules": {"global": {}}}))?)?;
    room(&writer, members, events)?;
    writer.finish(from::<Manifest>(json!({
        "version": importer::dump::format::VERSION, "server_name": SERVER, "created_ts": START,
        "source": {"kind": "sqlite"}, "tally": {"read": {}, "written": {}, "skipped": []},
        "files": [],
    }))?)?;
    Ok(())
}

/// The room: what does not change and the members outside of the timeline, then the events.
fn room(writer: &DumpWriter, members: usize, events: usize) -> anyhow::Result<()> {
    let mut room = Room::new()?;
    let mut outliers = Vec::new();
    let content = json!({"creator": ADMIN, "room_version": "10"});
    outliers.push(room.state("m.room.create", ADMIN, "", &content)?);
    outliers.push(room.state("m.room.member", ADMIN, ADMIN, &json!({"membership": "join"}))?);
    let own_join = outliers.last().context("there is one")?.event_id.clone();
    let power = json!({"users": {ADMIN: 100}});
    outliers.push(room.state("m.room.power_levels", ADMIN, "", &power)?);
    outliers.push(room.state("m.room.join_rules", ADMIN, "", &json!({"join_rule": "public"}))?);
    let mut local = vec![json!({"user_id": ADMIN, "membership": "join", "event_id": own_join})];
    for member in 1..members {
        let is_local = member.is_multiple_of(2);
        let server = member.checked_rem(OTHER_SERVERS).unwrap_or(0);
        let server = if is_local { SERVER.to_owned() } else { format!("s{server}.test") };
        let user = format!("@member{member}:{server}");
        let content = json!({"membership": "join", "displayname": format!("Member {member}")});
        let event = room.event("m.room.member", &user, Some(&user), &content)?;
        if is_local {
            let id = &event.event_id;
            local.push(json!({"user_id": user, "membership": "join", "event_id": id}));
        }
        room.set.push(json!(["m.room.member", user, event.event_id]));
        outliers.push(event);
    }

    let mut states = vec![json!({"id": 1, "set": std::mem::take(&mut room.set)})];
    let mut timeline = Vec::new();
    for number in 0..events {
        let before = states.len();
        let mut event = if number.is_multiple_of(10) {
            let event =
                room.state("m.room.topic", ADMIN, "", &json!({"topic": number.to_string()}))?;
            let set = std::mem::take(&mut room.set);
            states.push(json!({"id": before.saturating_add(1), "base": before, "set": set}));
            event
        } else {
            let content = json!({"msgtype": "m.text", "body": format!("message {number}")});
            room.event("m.room.message", ADMIN, None, &content)?
        };
        event.state_before = u64::try_from(before).ok();
        timeline.push(event);
    }

    let mut file = writer.room(&from::<DumpRoom>(json!({
        "room_id": ROOM, "room_version": "10", "current_state": states.len(),
        "forward_extremities": room.previous, "local_members": local,
    }))?)?;
    items(&mut file, states, &outliers, &timeline)?;
    Ok(writer.finish_room(file)?)
}

fn items(
    file: &mut RoomWriter,
    states: Vec<Value>,
    outliers: &[DumpEvent],
    timeline: &[DumpEvent],
) -> anyhow::Result<()> {
    for state in states {
        file.state(&from::<DumpState>(state)?)?;
    }
    for event in outliers {
        file.outlier(event)?;
    }
    for event in timeline {
        file.timeline(event)?;
    }
    Ok(())
}

/// Makes events of the room, each following the one before.
struct Room {
    signer: EventSigner,
    previous: Vec<String>,
    auth: Vec<String>,
    /// State since the last state of the dump.
    set: Vec<Value>,
    made: usize,
}

impl Room {
    fn new() -> anyhow::Result<Self> {
        let signer = EventSigner::with_seed(&RoomVersionId::V10, "a", SEED)?;
        Ok(Self { signer, previous: vec![], auth: vec![], set: vec![], made: 0 })
    }

    /// A state event of the administrator. The first four authorise all others.
    fn state(
        &mut self,
        kind: &str,
        sender: &str,
        key: &str,
        content: &Value,
    ) -> anyhow::Result<DumpEvent> {
        let event = self.event(kind, sender, Some(key), content)?;
        self.set.push(json!([kind, key, event.event_id]));
        if self.auth.len() < 4 {
            self.auth.push(event.event_id.to_string());
        }
        Ok(event)
    }

    fn event(
        &mut self,
        kind: &str,
        sender: &str,
        state_key: Option<&str>,
        content: &Value,
    ) -> anyhow::Result<DumpEvent> {
        self.made = self.made.saturating_add(1);
        let mut pdu = json!({
            "type": kind, "room_id": ROOM, "sender": sender, "content": content,
            "origin_server_ts": START.saturating_add(self.made), "depth": self.made,
            "prev_events": self.previous, "auth_events": self.auth,
        });
        if let (Some(key), Some(fields)) = (state_key, pdu.as_object_mut()) {
            fields.insert("state_key".to_owned(), key.into());
        }
        let Pdu { event_id, json } = self.signer.sign(pdu)?;
        self.previous = vec![event_id.to_string()];
        from(json!({"event_id": event_id, "pdu": json}))
    }
}

fn from<T: ruma::exports::serde::de::DeserializeOwned>(json: Value) -> anyhow::Result<T> {
    Ok(serde_json::from_value(json)?)
}
