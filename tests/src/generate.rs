//! Makes the database of a Synapse of any size: what years of use would have left in it, in a minute.
//!
//! A real Synapse has made the empty database, so the schema is its own. The rows are those that it would have written:
//! events with valid ids, hashes and signatures that follow each other and are allowed by the state before them; state
//! groups that hold differences, a whole group now and then; members, receipts, devices, media files. How many members
//! and events a room has follows Zipf's law. The same shape gives the same rows.
//!
//! Not there, as nothing that is tested needs it: other servers, the index of auth chains (`has_auth_chain_index` is
//! false, as in databases from before 2021), tables for sliding sync, the user directory, statistics of users.
#![expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "numbers and texts are the generator's own; what fails here fails in a test"
)]

mod event;
mod media;
mod people;
mod postgres;
mod random;
mod reading;
mod room;
mod sqlite;
mod table;
mod write;

use std::{collections::BTreeMap, fs, path::Path, sync::mpsc};

use anyhow::{Context as _, bail};
use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use rayon::prelude::*;
use ruma::signatures::Ed25519KeyPair;
use serde_json::{Value, json};

use self::{
    event::Server,
    media::Media,
    people::Person,
    random::{Random, Words, Zipf},
    reading::Streams,
    room::{BIRTH, Made, Room},
    table::Sink,
};

/// When the server's life begins, in milliseconds.
const START: i64 = 1_600_000_000_000;
/// The first place in the stream of events; Synapse's own first is 2.
const FIRST: i64 = 2;
/// Events that are in memory at a time.
const CHUNK: usize = 20_000;

/// What the server is like.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Chance begins here.
    pub seed: u64,
    /// Local accounts.
    pub users: usize,
    /// Rooms; half of the smallest ones are conversations of two.
    pub rooms: usize,
    /// Events, all kinds together.
    pub events: usize,
    /// Share of the events after a room's first ones that change its state, arrivals not counted.
    pub state: f64,
    /// Share of events that are sent beside another one instead of after it.
    pub forks: f64,
    /// Share of events that take back another one.
    pub redactions: f64,
    /// Share of messages that relate to another one: answers, threads, reactions, edits.
    pub relations: f64,
    /// Uploaded files.
    pub media: usize,
    /// Mean size of a file, in bytes.
    pub media_bytes: usize,
}

impl Default for Shape {
    /// A small server.
    fn default() -> Self {
        Self {
            seed: 1,
            users: 30,
            rooms: 20,
            events: 2000,
            state: 0.05,
            forks: 0.01,
            redactions: 0.01,
            relations: 0.25,
            media: 10,
            media_bytes: 20_000,
        }
    }
}

/// Everything that rooms look up and never change.
struct World {
    shape: Shape,
    server: Server,
    people: Vec<Person>,
    words: Words,
    media: Media,
}

/// Fills the empty, stopped laboratory in a directory, and notes users and rooms in its `lab.json`. A PostgreSQL must run.
///
/// # Errors
///
/// If the laboratory can't be read, or a row can't be written.
pub fn generate(lab: &Path, shape: &Shape) -> anyhow::Result<()> {
    let notes = lab.join("lab.json");
    let mut notes_json: Value = serde_json::from_slice(&fs::read(&notes)?)?;
    let text = |pointer: &str| -> anyhow::Result<&str> {
        notes_json.pointer(pointer).and_then(Value::as_str).with_context(|| format!("no {pointer}"))
    };
    let server =
        Server { name: text("/server_name")?.to_owned(), key: key(&lab.join("signing.key"))? };
    let mut sink: Box<dyn Sink> = match text("/engine")? {
        "sqlite" => Box::new(sqlite::Sqlite::open(&lab.join("homeserver.db"))?),
        "postgres" => {
            let [host, user, database] = ["host", "user", "dbname"]
                .map(|name| text(&format!("/database/args/{name}")).map(ToOwned::to_owned));
            Box::new(postgres::Postgres::open(&host?, &user?, &database?)?)
        }
        other => bail!("the laboratory's engine is {other}"),
    };

    let words = Words::new(shape.seed);
    let media = Media::new(shape.seed, shape.media, shape.media_bytes);
    let people = (0..shape.users)
        .map(|number| Person::new(&server, shape.seed, number, &words, &media))
        .collect();
    let world = World { shape: shape.clone(), server, people, words, media };
    for (number, person) in world.people.iter().enumerate() {
        person.write(&mut *sink, number, shape.seed)?;
    }
    world.media.write(&mut *sink, &lab.join("media"), &world.people)?;
    let (sink, rooms, newest) = events(sink, &world)?;
    ending(sink, &world, &rooms, newest)?;

    note(&mut notes_json, &world, &rooms);
    fs::write(&notes, serde_json::to_vec_pretty(&notes_json)?)?;
    Ok(())
}

/// The key in Synapse's file: `ed25519 VERSION SEED`.
fn key(path: &Path) -> anyhow::Result<Ed25519KeyPair> {
    let text = fs::read_to_string(path)?;
    let words: Vec<_> = text.split_whitespace().collect();
    let [_, version, seed] = words.as_slice() else { bail!("`{}` is no key", path.display()) };
    event::key(version, &STANDARD_NO_PAD.decode(seed)?)
}

/// Makes all events, in both directions at once: rooms are independent of each other, and rows are written meanwhile.
/// Returns the rooms as they are at the end, and the newest place in the stream.
fn events(sink: Box<dyn Sink>, world: &World) -> anyhow::Result<(Box<dyn Sink>, Vec<Room>, i64)> {
    let shape = &world.shape;
    let (sender, receiver) = mpsc::sync_channel::<Vec<Made>>(1);
    let mut order = Order::new(shape);
    let mut rooms = Vec::new();
    std::thread::scope(|scope| {
        let writer = scope.spawn(move || -> anyhow::Result<_> {
            let mut sink = sink;
            for event in receiver.into_iter().flatten() {
                write::event(&mut *sink, &event)?;
            }
            Ok(sink)
        });
        while order.left > 0 {
            let turns = order.chunk();
            while rooms.len() < order.born {
                let number = rooms.len();
                rooms.push(Room::new(
                    world,
                    number,
                    order.members(number, shape.users),
                    order.events(number),
                )?);
            }
            let made: Vec<Vec<Made>> = rooms
                .par_iter_mut()
                .enumerate()
                .with_max_len(1)
                .filter_map(|(number, room)| Some((room, turns.get(&number)?)))
                .map(|(room, turns)| turns.iter().map(|stream| room.next(world, *stream)).collect())
                .collect::<anyhow::Result<_>>()?;
            let mut made: Vec<_> = made.into_iter().flatten().collect();
            made.sort_unstable_by_key(|event| event.stream);
            if sender.send(made).is_err() {
                // The writer has failed, and says why.
                break;
            }
        }
        drop(sender);
        let sink = writer.join().map_err(|_| anyhow::anyhow!("the writer panicked"))??;
        Ok((sink, rooms, order.next - 1))
    })
}

/// Which room has the next event.
struct Order {
    random: Random,
    zipf: Zipf,
    rooms: usize,
    all: usize,
    left: usize,
    born: usize,
    next: i64,
}

impl Order {
    fn new(shape: &Shape) -> Self {
        Self {
            random: Random::new(shape.seed, "order", 0),
            zipf: Zipf::new(shape.rooms),
            rooms: shape.rooms,
            all: shape.events,
            left: shape.events,
            born: 0,
            next: FIRST,
        }
    }

    /// How many events a room will have, about.
    fn events(&self, room: usize) -> f64 {
        self.all as f64 * self.zipf.share(room)
    }

    /// How many members a room will have: half of the users in the largest, no fewer than two.
    fn members(&self, room: usize, users: usize) -> usize {
        (users / 2 / (room + 1)).max(2).min(1 + self.events(room) as usize / 4)
    }

    /// Places in the stream, by room. Rooms are born during the first half of the time.
    fn chunk(&mut self) -> BTreeMap<usize, Vec<i64>> {
        let mut turns = BTreeMap::<usize, Vec<i64>>::new();
        let mut places = CHUNK.min(self.left);
        while places > 0 {
            let gone = self.all - self.left;
            let birth = self.born < self.rooms && gone * self.rooms * 2 >= self.born * self.all;
            let (room, events) = if birth {
                self.born += 1;
                (self.born - 1, BIRTH.min(self.left))
            } else {
                (self.zipf.draw(&mut self.random, self.born), 1)
            };
            for _ in 0..events {
                turns.entry(room).or_default().push(self.next);
                self.next += 1;
            }
            self.left -= events;
            places = places.saturating_sub(events);
        }
        turns
    }
}

/// Rows about the present, when nothing happens any more.
fn ending(
    mut sink: Box<dyn Sink>,
    world: &World,
    rooms: &[Room],
    newest: i64,
) -> anyhow::Result<()> {
    let users = i64::try_from(world.people.len())?;
    let mut streams = Streams { receipts: 1, account_data: 2 * users + 2, events: newest };
    for room in rooms {
        write::room(&mut *sink, world, room)?;
        reading::room(&mut *sink, world, room, &mut streams)?;
    }
    // What works through events has seen them.
    for table in [
        "appservice_stream_position SET stream_ordering",
        "delayed_events_stream_pos SET stream_id",
        "event_push_summary_stream_ordering SET stream_ordering",
        "room_forgetter_stream_pos SET stream_id",
        "stats_incremental_position SET stream_id",
        "user_directory_stream_pos SET stream_id",
    ] {
        sink.run(&format!("UPDATE {table} = {newest}"))?;
    }
    sink.run(&format!(
        "UPDATE federation_stream_position SET stream_id = {newest} WHERE type = 'events'"
    ))?;
    let read = streams.receipts;
    sink.run(&format!("UPDATE event_push_summary_last_receipt_stream_id SET stream_id = {read}"))?;
    for (name, position) in [
        ("events", newest),
        ("receipts", read),
        ("account_data", streams.account_data),
        ("device_lists_stream", 4 * users + 4),
    ] {
        sink.run(&format!("DELETE FROM stream_positions WHERE stream_name = '{name}'"))?;
        sink.row(&table::STREAM_POSITIONS, &[name.into(), "master".into(), position.into()])?;
    }
    sink.finish()
}

/// Users with their tokens, and rooms, as the laboratory's scripts expect them.
fn note(notes: &mut Value, world: &World, rooms: &[Room]) {
    let users: serde_json::Map<_, _> = world
        .people
        .iter()
        .map(|person| {
            let devices: Vec<_> = person
                .devices
                .iter()
                .map(|device| json!({"device_id": device.id, "access_token": device.token}))
                .collect();
            (person.localpart.clone(), json!({"user_id": person.id, "devices": devices}))
        })
        .collect();
    notes["users"] = users.into();
    let rooms: serde_json::Map<_, _> = rooms
        .iter()
        .map(|room| {
            let creator = &world.people[room.creator].localpart;
            let about =
                json!({"room_id": room.id, "version": room.version.name, "creator": creator});
            (format!("room{}", room.number), about)
        })
        .collect();
    notes["rooms"] = rooms.into();
}
