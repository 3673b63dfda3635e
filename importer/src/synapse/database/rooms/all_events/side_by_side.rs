//! SQLite's tables of events, read side by side.
//!
//! Synapse adds the rows of an event to its tables one after the other, so they come in about the same order in each. Looked up by its
//! id, an event costs pages all over two indexes that are as large as a tenth of the file. Instead, the part of each table is read that
//! has the rows of a range of events, in its own order. An event that is not complete then is looked up.

use std::{io, ops::ControlFlow};

use super::{Place, Reading};
use crate::{
    hash::hash,
    source::SourceError,
    synapse::database::{
        DatabaseError,
        connection::Connection,
        rooms::{
            stored_event::{COLUMNS, IS_REDACTED, TABLES},
            timeline::{ACCEPTED, StreamPosition},
        },
        row::store_integer,
    },
};

/// Events of a range whose rows in another table are looked up, to know which part of it has all of them.
const SAMPLES: usize = 16;
/// So many times as many rows as events may be in that part: events of which only the content is needed, or nothing.
const ROWS_PER_EVENT: i64 = 8;

/// Whether the tables can be read so: no event may have two rows.
pub(super) async fn is_possible(db: &mut Connection) -> Result<bool, DatabaseError> {
    for table in ["event_json", "event_to_state_groups"] {
        let sql = format!(
            "SELECT l.name FROM pragma_index_list('{table}') l JOIN pragma_index_info(l.name) i \
             WHERE l.\"unique\" AND NOT l.partial GROUP BY l.name \
             HAVING COUNT(*) = 1 AND MAX(i.name) = 'event_id'"
        );
        if db.rows("the catalogue", &sql, &[]).await?.is_empty() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// An event whose rows in the other tables have not been read.
struct Incomplete {
    id: String,
    place: Place,
    position: StreamPosition,
    /// The columns before the state group.
    before: Vec<u8>,
    group: Option<i64>,
    is_redacted: i64,
    is_written: bool,
}

/// The events of a range, in the order of the stream.
struct Incompletes {
    events: Vec<Incomplete>,
    /// Their numbers by the hashes of their ids.
    by_id: Vec<(u64, usize)>,
}

impl Incompletes {
    fn new(events: Vec<Incomplete>) -> Self {
        let mut by_id: Vec<_> =
            events.iter().map(|event| hash(event.id.as_str())).zip(0..).collect();
        by_id.sort_unstable();
        Self { events, by_id }
    }

    /// An event, which mostly is the one at `next`.
    fn find(&mut self, id: &str, next: &mut usize) -> Option<&mut Incomplete> {
        let is_here = |number: &usize| self.events.get(*number).is_some_and(|event| event.id == id);
        let number = Some(*next).filter(is_here).or_else(|| {
            let found = self.by_id.binary_search_by_key(&hash(id), |(id, _)| *id).ok()?;
            self.by_id.get(found).map(|(_, number)| *number).filter(is_here)
        })?;
        *next = number.saturating_add(1);
        self.events.get_mut(number)
    }

    /// The first and last `rowid` of a table with rows of these events, if not many more rows lie between them.
    async fn part(
        &self,
        db: &mut Connection,
        table: &'static str,
    ) -> Result<Option<(i64, i64)>, DatabaseError> {
        let last = self.events.len().saturating_sub(1);
        let samples = (0..=SAMPLES).map(|number| last.saturating_mul(number).div_euclid(SAMPLES));
        let ids: Vec<_> = samples.filter_map(|at| Some(self.events.get(at)?.id.as_str())).collect();
        let sql = format!("SELECT rowid FROM {table} WHERE event_id IN ($IDS)");
        let rows = db.rows_in(table, &sql, &ids).await?;
        let rows = || rows.iter().filter_map(|row| row.integer(0));
        let Some((first, last)) = rows().min().zip(rows().max()) else { return Ok(None) };
        let events = i64::try_from(self.events.len()).unwrap_or(i64::MAX);
        let is_close = last.saturating_sub(first) < events.saturating_mul(ROWS_PER_EVENT);
        Ok(is_close.then_some((first, last)))
    }
}

impl Reading<'_> {
    /// Reads a range of the stream.
    pub(super) async fn side_by_side(
        &mut self,
        db: &mut Connection,
        range: (i64, i64),
    ) -> Result<u64, SourceError> {
        let (number, events) = self.incomplete(db, range).await?;
        let mut events = Incompletes::new(events);
        groups(db, &mut events).await?;
        self.contents(db, &mut events).await?;
        let ids: Vec<_> = events
            .events
            .iter()
            .filter(|event| !event.is_written)
            .map(|event| event.id.as_str())
            .collect();
        let sql =
            format!("SELECT {COLUMNS} FROM {TABLES} WHERE {ACCEPTED} AND e.event_id IN ($IDS)");
        let mut failed = None;
        db.each_in("events", &sql, &ids, |row| until_failed(self.add(row), &mut failed)).await?;
        self.done(failed)?;
        Ok(number)
    }

    /// The events of a range that have a place, and how many there are with those that have none.
    async fn incomplete(
        &self,
        db: &mut Connection,
        (begin, end): (i64, i64),
    ) -> Result<(u64, Vec<Incomplete>), DatabaseError> {
        let sql = format!(
            "SELECT e.event_id, e.stream_ordering, e.topological_ordering, e.room_id, e.outlier, \
             r.event_id IS NOT NULL, {IS_REDACTED} \
             FROM events e LEFT JOIN rejections r ON r.event_id = e.event_id \
             WHERE {ACCEPTED} AND e.stream_ordering BETWEEN $1 AND $2 ORDER BY e.stream_ordering"
        );
        let (mut number, mut events) = (0_u64, Vec::new());
        db.each("events", &sql, &[begin.into(), end.into()], |row| {
            number = number.saturating_add(1);
            let Some((place, position, id)) = self.place(row) else { return };
            let mut before = Vec::new();
            row.store(0..6, &mut before);
            events.push(Incomplete {
                id: id.into_owned(),
                place,
                position,
                before,
                group: None,
                is_redacted: row.integer(6).unwrap_or_default(),
                is_written: false,
            });
        })
        .await?;
        Ok((number, events))
    }

    /// Adds the events whose content is found, and whose state group is known.
    async fn contents(
        &mut self,
        db: &mut Connection,
        events: &mut Incompletes,
    ) -> Result<(), SourceError> {
        let table = "event_json";
        let Some((first, last)) = events.part(db, table).await? else { return Ok(()) };
        let sql = "SELECT event_id, internal_metadata, format_version, json FROM event_json \
                   WHERE rowid BETWEEN $1 AND $2";
        let (mut next, mut failed) = (0, None);
        let mut value = Vec::new();
        db.each_until(table, sql, &[first.into(), last.into()], |row| {
            let id = row.as_text(0).unwrap_or_default();
            let Some(event) = events.find(&id, &mut next) else { return ControlFlow::Continue(()) };
            let Some(group) = event.group.filter(|_| !event.is_written) else {
                return ControlFlow::Continue(());
            };
            event.is_written = true;
            value.clone_from(&event.before);
            store_integer(group, &mut value);
            store_integer(event.is_redacted, &mut value);
            row.store(1..4, &mut value);
            until_failed(self.push(event.place, event.position, &id, &value), &mut failed)
        })
        .await?;
        self.done(failed)
    }
}

/// Notes the state groups after events.
async fn groups(db: &mut Connection, events: &mut Incompletes) -> Result<(), DatabaseError> {
    let table = "event_to_state_groups";
    let Some((first, last)) = events.part(db, table).await? else { return Ok(()) };
    let sql =
        "SELECT event_id, state_group FROM event_to_state_groups WHERE rowid BETWEEN $1 AND $2";
    let mut next = 0;
    db.each(table, sql, &[first.into(), last.into()], |row| {
        let id = row.as_text(0).unwrap_or_default();
        if let Some(event) = events.find(&id, &mut next) {
            event.group = row.integer(1);
        }
    })
    .await
}

/// Whether to read on, as long as nothing has failed.
pub(super) fn until_failed(
    done: io::Result<()>,
    failed: &mut Option<io::Error>,
) -> ControlFlow<()> {
    *failed = done.err();
    if failed.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}
