//! A database on its own: rows that decode, indexes that agree, events that are what their ids and hashes say.

pub(super) mod appservices;
pub(super) mod directory;
pub(super) mod events;
pub(super) mod hidden;
pub(super) mod indexes;
pub(super) mod keys;
pub(super) mod media;
pub(super) mod media_files;
pub(super) mod membership;
pub(super) mod receipts;
pub(super) mod rooms;
pub(super) mod rows;
pub(super) mod states;
pub(super) mod timeline;
pub(super) mod users;

use std::collections::BTreeMap;

use self::{
    events::{Events, Own, Rules, Versions},
    indexes::{Look, Sums},
    rows::{Amount, Trees},
    timeline::Timelines,
};
use super::{
    Verified, VerifyError,
    tools::{
        parts::{self, Part},
        sequence_hash,
        since_import::SinceImport,
    },
};
use crate::{
    conduit::{
        schema::trees::{self, Tree},
        store::KvRead,
    },
    findings::collector::Findings,
    progress::{Phase, Progress},
};

/// So many events, of 16 bytes each, are not held while the dump is compared.
const MANY: usize = if cfg!(test) { 8 } else { 4_000_000 };

/// What is known of a database before its trees are read.
pub(super) struct Ground<'a> {
    since: SinceImport,
    counter: u64,
    /// Names of rooms by their short ids.
    rooms: BTreeMap<u64, String>,
    own: Own<'a>,
}

/// Checks a database on its own, see [`super::structure()`].
///
/// All trees are read once, in parts, by all cores. What depends on all events, or on several trees, is checked afterwards.
/// `tell` is given the timelines as soon as they have been read, or if there are many events when these are forgotten.
///
/// # Errors
///
/// [`VerifyError::Kv`].
pub(super) fn check(
    store: &dyn KvRead,
    server_name: &str,
    progress: &Progress,
    tell: impl FnOnce(sequence_hash::Timelines),
) -> Result<Verified, VerifyError> {
    let mut found = Findings::default();
    let since = SinceImport::read(store)?;
    let ground = Ground {
        since,
        counter: rows::check(store, since, &mut found)?,
        rooms: timeline::rooms(store)?,
        own: Own::read(store, server_name)?,
    };
    let all = parts_of_all(store)?;
    let number = all.len() + AFTERWARDS.len();
    let phase = progress.phase_of(["part of the database", "parts of the database"], number);
    let likely = events::likely_versions(store, ground.rooms.values())?;
    let mut read = read(store, &ground, &all, &likely, &phase)?;
    if read.versions != likely {
        let versions = std::mem::take(&mut read.versions);
        read = self::read(store, &ground, &all, &versions, &phase)?;
    }
    let Read { trees, events, timelines, found: of_rows, .. } = read;
    // Whoever compares them holds much of a large room.
    let later = if events.len() > MANY {
        Some((tell, timelines))
    } else {
        tell(timelines);
        None
    };
    found.merge(of_rows);
    rows::admin_room(store, server_name, &mut found)?;
    let context = Context { server_name, since, events: &events };
    let check = |store: &dyn KvRead, check: Afterwards| {
        let mut found = Findings::default();
        check(store, &context, &mut found)?;
        Ok(found)
    };
    parts::work(store, AFTERWARDS, check, |of_check| {
        found.merge(of_check);
        phase.advance(1);
        Ok(())
    })?;
    rooms::check(store, &context, &mut found)?;
    drop(events);
    if let Some((tell, timelines)) = later {
        tell(timelines);
    }
    let mut findings = since.judge(found.finish());
    store.dialect().reword(&mut findings);
    Ok(Verified { rows: trees.rows, bytes: trees.bytes, findings })
}

/// Parts of all trees.
fn parts_of_all(store: &dyn KvRead) -> Result<Vec<Part>, VerifyError> {
    let mut all = Vec::new();
    for tree in store.dialect().trees() {
        all.extend(Part::of(store, tree)?);
    }
    Ok(all)
}

/// What all trees say.
struct Read {
    trees: Trees,
    events: Events,
    /// The versions of rooms, by their create events.
    versions: Versions,
    timelines: sequence_hash::Timelines,
    found: Findings,
}

/// What a part of a tree says.
enum Seen {
    Timeline(Box<timeline::Seen>),
    Outside(Box<events::Outside>),
    Rows(&'static Tree, Amount, Sums, Findings),
}

/// Reads all trees, and compares those that say the same.
fn read(
    store: &dyn KvRead,
    ground: &Ground<'_>,
    all: &[Part],
    versions: &Versions,
    phase: &Phase,
) -> Result<Read, VerifyError> {
    let rules = Rules::of(versions);
    let mut found = Findings::default();
    let mut trees = Trees::default();
    let mut sums: BTreeMap<&'static Tree, Sums> = BTreeMap::new();
    let mut events = events::Seen::for_all(store)?;
    // What is outside of the timelines is read before them, and comes after them.
    let (mut outside, mut of_outside) = (Versions::new(), Findings::default());
    let mut timelines = Timelines::new(store, &ground.rooms);
    let of_part = |store: &dyn KvRead, part: &Part| match part.tree {
        tree if tree == &trees::PDUID_PDU => {
            Ok(Seen::Timeline(Box::new(timeline::read(store, part, ground, &rules)?)))
        }
        tree if tree == &trees::EVENTID_OUTLIERPDU => {
            Ok(Seen::Outside(Box::new(events::Outside::read(store, part, ground, &rules)?)))
        }
        _ => other(store, part, ground.counter),
    };
    parts::work(store, all, of_part, |seen| {
        match seen {
            Seen::Timeline(seen) => {
                trees.add(&trees::PDUID_PDU, seen.amount);
                events.merge(timelines.take(*seen, &mut found)?);
            }
            Seen::Outside(mut seen) => {
                trees.add(&trees::EVENTID_OUTLIERPDU, seen.amount);
                found.merge(seen.of_rows);
                of_outside.merge(seen.found);
                outside.extend(std::mem::take(&mut seen.seen.versions));
                events.merge(seen.seen);
            }
            Seen::Rows(tree, amount, of_part, of_rows) => {
                trees.add(tree, amount);
                sums.entry(tree).or_default().merge(of_part);
                found.merge(of_rows);
            }
        }
        phase.advance(1);
        Ok(())
    })?;
    found.merge(of_outside);
    events.versions.extend(outside);
    let sums_of = |tree: &Tree| sums.get(tree).copied().unwrap_or_default();
    let (places, words) = (sums_of(&trees::EVENTID_PDUID).rows, sums_of(&trees::TOKENIDS).keys());
    let sequences = timelines.sequences();
    timelines.finish(places, words, &mut found)?;
    indexes::check(store, &sums, &mut found)?;
    let versions = std::mem::take(&mut events.versions);
    let events = events.finish(store, &rules, &mut found)?;
    Ok(Read { trees, events, versions, timelines: sequences, found })
}

/// Reads a part of a tree without events.
fn other(store: &dyn KvRead, part: &Part, counter: u64) -> Result<Seen, VerifyError> {
    let tree = part.tree;
    let look = Look::of(tree);
    let (mut amount, mut sums, mut found) =
        (Amount::default(), Sums::default(), Findings::default());
    part.each(store, |key, value| {
        let largest = sums.add(tree, (key, value), look);
        amount.add(tree, (key, value), largest, counter, &mut found);
        Ok(())
    })?;
    Ok(Seen::Rows(tree, amount, sums, found))
}

/// What is known when all trees were read.
pub(super) struct Context<'a> {
    server_name: &'a str,
    since: SinceImport,
    events: &'a Events,
}

/// A check that is made when all trees were read.
type Afterwards = fn(&dyn KvRead, &Context<'_>, &mut Findings) -> Result<(), VerifyError>;

/// These checks, those first that take long.
const AFTERWARDS: [Afterwards; 8] = [
    |store, context, found| states::check(store, context.events, found),
    |store, context, found| hidden::check(store, context.server_name, context.since, found),
    |store, context, found| users::check(store, context.server_name, found),
    |store, _, found| receipts::check(store, found),
    |store, context, found| keys::check(store, context.server_name, found),
    |store, context, found| directory::check(store, context.server_name, found),
    |store, _, found| appservices::check(store, found),
    |store, _, found| media::check(store, found),
];
