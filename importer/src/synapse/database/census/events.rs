//! The census of events. There are too many to count them twice; an index has the number for each room.

use super::{
    super::rooms::EVENT_TWICE, ENOUGH, Fate, NAMED, OUTSIDE, Owners, accounted, add, difference,
};
use crate::{
    dump::{
        History,
        census::{Stranger, TableRows},
    },
    synapse::database::{DatabaseError, connection::Connection},
    tally::{Kind, Met, Tally},
};

/// Rooms that are named where rows were not read, and events that are named as examples.
const EXAMPLES: usize = 5;
/// Why an event is left out that has a row in `event_json` only.
const NO_ROW: &str = "row-missing";

/// Counts events by room: those of timelines, those outside that something refers to, and the rest. Where there are few
/// enough, the timelines are counted once more.
pub(super) async fn count_events(
    db: &mut Connection,
    who: Owners<'_>,
    rows: &mut TableRows,
    tally: &Tally,
) -> Result<(), DatabaseError> {
    rows.fate = Fate::Moves;
    let met = tally.rows.of("events").cloned().unwrap_or_default();
    let outside = tally.rows.of(OUTSIDE).map_or(0, |outside| outside.rows);
    let (mut all, mut of_nobody) = (0_u64, 0_u64);
    let sql = "SELECT e.room_id, e.rows, (SELECT COUNT(*) FROM (SELECT 1 FROM local_current_membership l \
               WHERE l.room_id = e.room_id LIMIT 1) x) \
               FROM (SELECT room_id, COUNT(*) AS rows FROM events GROUP BY room_id) e";
    db.each("events", sql, &[], |row| {
        let number = row.integer(1).and_then(|rows| u64::try_from(rows).ok()).unwrap_or(0);
        all = all.saturating_add(number);
        let room = row.label();
        let is_here = row.integer(2) == Some(1) || who.rooms_of_state.contains(&room);
        if !is_here || who.rooms_left_out.contains(&room) {
            of_nobody = of_nobody.saturating_add(number);
        }
    })
    .await?;
    rows.rows = Some(all);
    let skipped = met.left_out.values().copied().fold(0, u64::saturating_add);
    rows.moved = met.rows.saturating_sub(skipped).saturating_add(outside);
    rows.left_out.clone_from(&met.left_out);
    let earlier = tally.rows.of("earlier events").map_or(0, |earlier| earlier.rows);
    for (reason, number) in [("nobody-here", of_nobody), ("earlier", earlier)] {
        if number > 0 {
            add(&mut rows.never, reason, number);
        }
    }
    let rest = difference(all, accounted(rows));
    let unmet = if who.history == History::Full && all <= ENOUGH {
        unmet_events(db, who, &met, rows).await?
    } else {
        rest.min(0)
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

/// Rows of `event_json` without their row in `events`. Both indexes are compared, not the tables; where they are large, in a
/// dump only.
pub(super) async fn count_orphans(
    db: &mut Connection,
    rows: &mut TableRows,
    tally: Option<&mut Tally>,
) -> Result<(), DatabaseError> {
    if rows.more && tally.is_none() {
        return Ok(());
    }
    let sql = "SELECT ej.event_id FROM event_json ej \
               WHERE NOT EXISTS (SELECT 1 FROM events e WHERE e.event_id = ej.event_id)";
    let (mut orphans, mut named) = (0_u64, Vec::new());
    db.each("event_json", sql, &[], |row| {
        orphans = orphans.saturating_add(1);
        if named.len() < NAMED {
            named.push(row.label());
        }
    })
    .await?;
    if orphans == 0 {
        return Ok(());
    }
    named.sort();
    let examples = named.iter().take(EXAMPLES).cloned().collect::<Vec<_>>().join(", ");
    if let Some(tally) = tally {
        let detail = "`event_json` has the event, and `events` does not: its place in the timeline is unknown, and whether Synapse had accepted it";
        tally.leave_out(Kind::TimelineEvent, orphans, examples, NO_ROW, detail);
    }
    add(&mut rows.left_out, NO_ROW, orphans);
    rows.owners = named.into_iter().map(|owner| Stranger { owner, rows: 1 }).collect();
    Ok(())
}

/// Rows of events that have another one, of which the dump takes one.
async fn events_twice(db: &mut Connection) -> Result<u64, DatabaseError> {
    let sql = "SELECT event_id, COUNT(*) FROM events GROUP BY event_id HAVING COUNT(*) > 1";
    let mut twice = 0_u64;
    db.each("events", sql, &[], |row| {
        let number = row.integer(1).and_then(|rows| u64::try_from(rows).ok()).unwrap_or(0);
        twice = twice.saturating_add(number.saturating_sub(1));
    })
    .await?;
    Ok(twice)
}

/// How many more events timelines have than were read; negative if more were read.
async fn unmet_events(
    db: &mut Connection,
    who: Owners<'_>,
    met: &Met,
    rows: &mut TableRows,
) -> Result<i64, DatabaseError> {
    let sql = "SELECT e.room_id, COUNT(*) FROM events e LEFT JOIN rejections r ON r.event_id = e.event_id \
               WHERE NOT e.outlier AND r.event_id IS NULL AND EXISTS (SELECT 1 FROM local_current_membership l \
               WHERE l.room_id = e.room_id) GROUP BY e.room_id";
    let mut unmet = 0_i64;
    db.each("events", sql, &[], |row| {
        let (room, number) = (row.label(), row.integer(1).unwrap_or(0));
        let seen = i64::try_from(met.of_owner(&room)).unwrap_or(i64::MAX);
        if seen != number && !who.rooms_left_out.contains(&room) {
            unmet = unmet.saturating_add(number.saturating_sub(seen));
            if rows.examples.len() < EXAMPLES {
                rows.examples.push(format!("{room} ({number}, {seen} read)"));
            }
        }
    })
    .await?;
    Ok(unmet)
}
