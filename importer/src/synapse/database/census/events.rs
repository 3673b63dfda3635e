//! The census of events. There are too many to count them twice; an index has the number for each room.

use std::collections::BTreeMap;

use super::{
    super::rooms::EVENT_TWICE, ENOUGH, NAMED, OUTSIDE, Owners, accounted, add, difference,
};
use crate::{
    dump::{
        History,
        census::{Stranger, TableRows},
    },
    synapse::database::{DatabaseError, connection::Connection, row::Row},
    tally::{Kind, Met, Tally},
};

/// Rooms that are named where rows were not read, and events that are named as examples.
const EXAMPLES: usize = 5;
/// Why an event is left out that has a row in `event_json` only.
const NO_ROW: &str = "row-missing";

/// What `events` holds.
#[derive(Debug)]
pub(super) struct EventCounts {
    /// All rows.
    pub(super) rows: u64,
    /// Those of rooms in which nobody is.
    of_nobody: u64,
    /// Events of each room's timeline, if they were counted.
    timelines: Option<BTreeMap<String, u64>>,
}

/// Events that have a row in `event_json` only.
#[derive(Debug, Default)]
pub(super) struct Orphans {
    number: u64,
    /// The first ones.
    named: Vec<String>,
}

/// Counts events by room; and, if all are read and there are few enough, those of timelines once more.
pub(super) async fn count(
    db: &mut Connection,
    who: Owners<'_>,
) -> Result<EventCounts, DatabaseError> {
    let mut counted = EventCounts { rows: 0, of_nobody: 0, timelines: None };
    let sql = "SELECT e.room_id, e.rows, (SELECT COUNT(*) FROM (SELECT 1 FROM local_current_membership l \
               WHERE l.room_id = e.room_id LIMIT 1) x) \
               FROM (SELECT room_id, COUNT(*) AS rows FROM events GROUP BY room_id) e";
    db.each("events", sql, &[], |row| {
        let number = unsigned(&row);
        counted.rows = counted.rows.saturating_add(number);
        let room = row.label();
        let is_here = row.integer(2) == Some(1) || who.rooms_of_state.contains(&room);
        if !is_here || who.rooms_left_out.contains(&room) {
            counted.of_nobody = counted.of_nobody.saturating_add(number);
        }
    })
    .await?;
    if who.history == History::Full && counted.rows <= ENOUGH {
        let somebody =
            "EXISTS (SELECT 1 FROM local_current_membership l WHERE l.room_id = e.room_id)";
        // Read from an index that has no outliers. To look for each event among the rejected ones would need the table.
        let sql = format!(
            "SELECT e.room_id, COUNT(*) FROM events e WHERE NOT e.outlier AND {somebody} GROUP BY e.room_id"
        );
        let mut timelines = BTreeMap::new();
        db.each("events", &sql, &[], |row| {
            timelines.insert(row.label(), unsigned(&row));
        })
        .await?;
        let sql = format!(
            "SELECT e.room_id, COUNT(*) FROM (SELECT DISTINCT event_id FROM rejections) r \
             JOIN events e ON e.event_id = r.event_id WHERE NOT e.outlier AND {somebody} GROUP BY e.room_id"
        );
        db.each("rejections", &sql, &[], |row| {
            if let Some(events) = timelines.get_mut(&row.label()) {
                *events = events.saturating_sub(unsigned(&row));
            }
        })
        .await?;
        counted.timelines = Some(timelines);
    }
    Ok(counted)
}

/// Compares them with what was read: events of timelines, those outside that something refers to, and the rest.
pub(super) async fn account_for(
    db: &mut Connection,
    who: Owners<'_>,
    counted: EventCounts,
    rows: &mut TableRows,
    tally: &Tally,
) -> Result<(), DatabaseError> {
    let met = tally.rows.of("events").cloned().unwrap_or_default();
    let outside = tally.rows.of(OUTSIDE).map_or(0, |outside| outside.rows);
    let all = counted.rows;
    rows.rows = Some(all);
    let skipped = met.left_out.values().copied().fold(0, u64::saturating_add);
    rows.moved = met.rows.saturating_sub(skipped).saturating_add(outside);
    rows.left_out.clone_from(&met.left_out);
    let earlier = tally.rows.of("earlier events").map_or(0, |earlier| earlier.rows);
    for (reason, number) in [("nobody-here", counted.of_nobody), ("earlier", earlier)] {
        if number > 0 {
            add(&mut rows.never, reason, number);
        }
    }
    let rest = difference(all, accounted(rows));
    let unmet = match &counted.timelines {
        Some(timelines) => unmet_events(timelines, who, &met, rows),
        None => rest.min(0),
    };
    let twice = if unmet > 0 { events_twice(db).await?.min(unmet.unsigned_abs()) } else { 0 };
    if twice > 0 {
        add(&mut rows.left_out, EVENT_TWICE, twice);
    }
    let unneeded = u64::try_from(rest.saturating_sub(unmet)).unwrap_or(0);
    if unneeded > 0 {
        add(&mut rows.never, "not-needed", unneeded);
    }
    rows.unaccounted = difference(all, accounted(rows));
    if rows.unaccounted == 0 {
        rows.examples.clear();
    }
    Ok(())
}

/// Rows of `event_json` without their row in `events`. Both indexes are compared, not the tables.
pub(super) async fn orphans(db: &mut Connection) -> Result<Orphans, DatabaseError> {
    let sql = "SELECT ej.event_id FROM event_json ej \
               WHERE NOT EXISTS (SELECT 1 FROM events e WHERE e.event_id = ej.event_id)";
    let mut orphans = Orphans::default();
    db.each("event_json", sql, &[], |row| {
        orphans.number = orphans.number.saturating_add(1);
        if orphans.named.len() < NAMED {
            orphans.named.push(row.label());
        }
    })
    .await?;
    orphans.named.sort();
    Ok(orphans)
}

impl Orphans {
    /// Counts them as left out.
    pub(super) fn leave_out(self, rows: &mut TableRows, tally: Option<&mut Tally>) {
        let Self { number, named } = self;
        if number == 0 {
            return;
        }
        if let Some(tally) = tally {
            let examples = named.iter().take(EXAMPLES).cloned().collect::<Vec<_>>().join(", ");
            let detail = "`event_json` has the event, and `events` does not: its place in the timeline is unknown, and whether Synapse had accepted it";
            tally.leave_out(Kind::TimelineEvent, number, examples, NO_ROW, detail);
        }
        add(&mut rows.left_out, NO_ROW, number);
        rows.owners = named.into_iter().map(|owner| Stranger { owner, rows: 1 }).collect();
    }
}

/// Rows of events that have another one, of which the dump takes one.
async fn events_twice(db: &mut Connection) -> Result<u64, DatabaseError> {
    let sql = "SELECT event_id, COUNT(*) FROM events GROUP BY event_id HAVING COUNT(*) > 1";
    let mut twice = 0_u64;
    db.each("events", sql, &[], |row| {
        twice = twice.saturating_add(unsigned(&row).saturating_sub(1));
    })
    .await?;
    Ok(twice)
}

/// How many more events timelines have than were read; negative if more were read.
fn unmet_events(
    timelines: &BTreeMap<String, u64>,
    who: Owners<'_>,
    met: &Met,
    rows: &mut TableRows,
) -> i64 {
    let mut unmet = 0_i64;
    for (room, number) in timelines {
        let seen = met.of_owner(room);
        if seen != *number && !who.rooms_left_out.contains(room) {
            unmet = unmet.saturating_add(difference(*number, seen));
            if rows.examples.len() < EXAMPLES {
                rows.examples.push(format!("{room} ({number}, {seen} read)"));
            }
        }
    }
    unmet
}

/// The number of a group's rows.
fn unsigned(row: &Row<'_>) -> u64 {
    row.integer(1).and_then(|rows| u64::try_from(rows).ok()).unwrap_or(0)
}
