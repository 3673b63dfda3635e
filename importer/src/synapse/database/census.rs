//! The census: every row of every table is accounted for.
//!
//! Readers count in [`Tally::rows`] the rows that they read. Here all tables are counted, in the same snapshot. The difference is
//! explained: rows whose owner is no account, rows of rooms without a local user, rows that by rule never move ([`table::Part`]).
//! Rows that stay unexplained are a fault, and are reported as one.
//!
//! A table whose rows are no items of their own is not counted beyond [`ENOUGH`], so that a check stays cheap.

mod events;
mod owners;
mod senders;
mod table;
mod tables;

use std::collections::{BTreeMap, BTreeSet};

use ruma::{OwnedUserId, ServerName};

use self::{
    owners::OwnerCounts,
    table::{OwnerKind, Table},
};
pub(super) use self::{senders::active_senders, tables::find};
use super::{
    DatabaseError, Facts,
    connection::{Connection, Databases},
    rooms::ListedRooms,
    row::KeptRow,
    users::ListedUsers,
};
use crate::{
    dump::{
        History,
        census::{Census, Fate, Stranger, TableRows},
        format::SourceKind,
    },
    tally::{Kind, Tally},
};

/// Rows up to which a table is counted, if no sum depends on them.
const ENOUGH: u64 = 1_000_000;
/// Owners that are named; the rest is counted.
const NAMED: usize = 1000;
/// Where readers count events outside of timelines.
pub(super) const OUTSIDE: &str = "events outside of timelines";

/// Owners for whom the database alone does not speak, and how much of their rooms is read.
#[derive(Clone, Copy)]
pub(super) struct Owners<'a> {
    server_name: &'a ServerName,
    history: History,
    /// Application services' users that have no row in `users`, and the services.
    senders: &'a BTreeMap<OwnedUserId, String>,
    /// Users with a row in `users` that can't move.
    users_left_out: &'a BTreeSet<String>,
    /// Rooms of which only their state says that a local user is in them.
    rooms_of_state: &'a BTreeSet<String>,
    /// Rooms in the table of memberships that can't move.
    rooms_left_out: &'a BTreeSet<String>,
}

impl<'a> Owners<'a> {
    /// As far as they are known, from what the lists of users and rooms found.
    pub(super) fn of(facts: &'a Facts, users: &'a ListedUsers, rooms: &'a ListedRooms) -> Self {
        Self {
            server_name: &facts.config.server_name,
            history: facts.extent.history,
            senders: &facts.senders,
            users_left_out: &users.left_out,
            rooms_of_state: &rooms.of_state,
            rooms_left_out: &rooms.left_out,
        }
    }
}

/// Counts all tables. With what was read, in `tally`, sums are made; without, rows and owners are counted only.
pub(super) async fn read(
    databases: &mut Databases,
    who: Owners<'_>,
    mut tally: Option<&mut Tally>,
) -> Result<Census, DatabaseError> {
    let Databases { main, state } = databases;
    let mut census = Census::default();
    for name in names(main).await? {
        let counted = if let Some(table) = find(&name) {
            count_table(main, who, &name, table, tally.as_deref_mut()).await?
        } else {
            let mut rows = TableRows::new(&name, Fate::Unknown);
            count(main, &name, &mut rows).await?;
            settle(&mut rows);
            rows
        };
        census.tables.push(counted);
    }
    if let Some(state) = state {
        for name in names(state).await? {
            let fate = find(&name).map_or(Fate::Unknown, |table| table.fate);
            let mut rows = TableRows::new(&format!("state:{name}"), fate);
            count(state, &name, &mut rows).await?;
            settle(&mut rows);
            census.tables.push(rows);
        }
    }
    Ok(census)
}

async fn count_table(
    db: &mut Connection,
    who: Owners<'_>,
    name: &str,
    table: &'static Table,
    tally: Option<&mut Tally>,
) -> Result<TableRows, DatabaseError> {
    let mut rows = TableRows::new(name, table.fate);
    match (name, tally) {
        ("events", Some(tally)) => events::count_events(db, who, &mut rows, tally).await?,
        ("events", None) => count(db, name, &mut rows).await?,
        ("event_json", tally) => {
            count(db, name, &mut rows).await?;
            events::count_orphans(db, &mut rows, tally).await?;
        }
        (_, tally) if table.fate == Fate::Moves || !table.owners.is_empty() => {
            let counted = owners::count(db, who, table).await?;
            rows.rows = Some(counted.rows);
            let owners = take(&mut rows, counted);
            if let Some(tally) = tally {
                report(table, &owners, tally);
                if name == "rooms" {
                    published_by_nobody(db, who, tally).await?;
                }
                if table.fate == Fate::Moves {
                    balance(db, who, table, &mut rows, tally).await?;
                }
            }
        }
        _ => count(db, name, &mut rows).await?,
    }
    if table.fate != Fate::Moves {
        settle(&mut rows);
    }
    Ok(rows)
}

/// Counts entries of the public directory as left out if no local user has to do with the room.
async fn published_by_nobody(
    db: &mut Connection,
    who: Owners<'_>,
    tally: &mut Tally,
) -> Result<(), DatabaseError> {
    let sql = "SELECT t.room_id FROM rooms t WHERE t.is_public AND NOT EXISTS \
               (SELECT 1 FROM local_current_membership l WHERE l.room_id = t.room_id) ORDER BY t.room_id";
    for row in db.rows("rooms", sql, &[]).await? {
        let room = row.label();
        if !who.rooms_of_state.contains(&room) {
            let detail = "no local user is in, was in or is invited to the room";
            tally.leave_out(Kind::PublishedRoom, 1, room, "nobody-here", detail);
        }
    }
    Ok(())
}

/// Adds up the line of a table whose rows move.
async fn balance(
    db: &mut Connection,
    who: Owners<'_>,
    table: &'static Table,
    rows: &mut TableRows,
    tally: &Tally,
) -> Result<(), DatabaseError> {
    let met = tally.rows.of(table.name).cloned().unwrap_or_default();
    let left_out = met.left_out.values().copied().fold(0, u64::saturating_add);
    rows.moved = met.rows.saturating_sub(left_out);
    for (reason, number) in &met.left_out {
        add(&mut rows.left_out, reason, *number);
    }
    rows.unaccounted = difference(rows.rows.unwrap_or(0), accounted(rows));
    if rows.unaccounted != 0 {
        rows.examples = owners::examples(db, who.server_name, table, &met).await?;
    }
    Ok(())
}

/// Puts the counts of a table into its line of the census; returns the owners that don't exist, with what they should be.
fn take(rows: &mut TableRows, counted: OwnerCounts) -> Vec<(OwnerKind, Vec<Stranger>)> {
    for (reason, number) in counted.parts {
        add(&mut rows.never, reason, number);
    }
    for (of, owners) in &counted.owners {
        let number = sum(owners);
        let (list, reason) = match of {
            OwnerKind::Room | OwnerKind::RoomOfOthers if rows.table != "room_aliases" => {
                (&mut rows.never, "nobody-here")
            }
            OwnerKind::Room | OwnerKind::RoomOfOthers => (&mut rows.left_out, "nobody-here"),
            OwnerKind::User | OwnerKind::Localpart | OwnerKind::AnyUser => {
                (&mut rows.left_out, "owner-missing")
            }
            // They move as members of their rooms.
            OwnerKind::Member => {
                rows.owners.extend(owners.iter().cloned());
                continue;
            }
        };
        if number > 0 {
            add(list, reason, number);
        }
        // Rooms without a local user are listed with their aliases.
        if !of.is_room() || rows.table == "room_aliases" {
            rows.owners.extend(owners.iter().cloned());
        }
    }
    rows.owners = named(std::mem::take(&mut rows.owners));
    counted.owners
}

/// Counts rows without an owner as left out.
fn report(table: &Table, owners: &[(OwnerKind, Vec<Stranger>)], tally: &mut Tally) {
    let Some(kind) = table.kinds.first().copied().filter(|_| table.fate == Fate::Moves) else {
        return;
    };
    for (of, owners) in owners {
        let (reason, detail) = match of {
            OwnerKind::Room if kind == Kind::Alias => {
                ("nobody-here", "no local user is in, was in or is invited to the alias's room")
            }
            OwnerKind::Room | OwnerKind::RoomOfOthers | OwnerKind::Member => continue,
            OwnerKind::User | OwnerKind::Localpart | OwnerKind::AnyUser => (
                "owner-missing",
                "the owner has no readable row in `users`, and is not an application service's user",
            ),
        };
        for owner in owners {
            tally.leave_out(kind, owner.rows, &owner.owner, reason, detail);
        }
    }
}

/// Completes the line of a table that has no sum: rows that are not counted elsewhere follow the table's rule.
fn settle(rows: &mut TableRows) {
    let Some(number) = rows.rows else { return };
    let rest = number.saturating_sub(accounted(rows));
    match rows.fate {
        Fate::Feeds | Fate::Moves => rows.moved = rows.moved.saturating_add(rest),
        Fate::NoPlace if rest > 0 => add(&mut rows.left_out, "not-in-conduit", rest),
        Fate::Derived if rest > 0 => add(&mut rows.never, "made-anew", rest),
        Fate::Cache if rest > 0 => add(&mut rows.never, "cache", rest),
        Fate::Bookkeeping if rest > 0 => add(&mut rows.never, "bookkeeping", rest),
        Fate::Unknown => rows.unaccounted = difference(rest, 0),
        Fate::NoPlace | Fate::Derived | Fate::Cache | Fate::Bookkeeping => {}
    }
}

fn accounted(rows: &TableRows) -> u64 {
    let reasons = rows.left_out.values().chain(rows.never.values()).copied();
    reasons.fold(rows.moved, u64::saturating_add)
}

fn difference(rows: u64, accounted: u64) -> i64 {
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    number(rows).saturating_sub(number(accounted))
}

fn add(reasons: &mut BTreeMap<String, u64>, reason: &str, number: u64) {
    let rows = reasons.entry(reason.to_owned()).or_default();
    *rows = rows.saturating_add(number);
}

fn sum(owners: &[Stranger]) -> u64 {
    owners.iter().map(|owner| owner.rows).fold(0, u64::saturating_add)
}

/// The first owners, sorted.
fn named(mut owners: Vec<Stranger>) -> Vec<Stranger> {
    owners.sort();
    owners.truncate(NAMED);
    owners
}

/// An owner and the number of its rows.
fn stranger(row: &KeptRow) -> Stranger {
    let rows = row.integer(1).and_then(|rows| u64::try_from(rows).ok()).unwrap_or(0);
    Stranger { owner: row.label(), rows }
}

/// All tables that may be read, sorted.
async fn names(db: &mut Connection) -> Result<Vec<String>, DatabaseError> {
    let sql = match db.kind() {
        SourceKind::Sqlite => "SELECT name FROM sqlite_master WHERE type = 'table'",
        SourceKind::Postgres | SourceKind::Api => {
            "SELECT DISTINCT CAST(table_name AS TEXT) FROM information_schema.tables \
             WHERE table_type = 'BASE TABLE' AND table_schema = ANY (current_schemas(FALSE)) \
             AND has_table_privilege(quote_ident(table_schema) || '.' || quote_ident(table_name), 'SELECT')"
        }
    };
    let rows = db.rows("the catalogue", sql, &[]).await?;
    let mut names: Vec<_> = rows.iter().map(KeptRow::label).collect();
    names.sort();
    Ok(names)
}

/// Counts a table up to [`ENOUGH`]. One that SQLite can't read, as a module of its is missing, is not counted.
async fn count(db: &mut Connection, name: &str, rows: &mut TableRows) -> Result<(), DatabaseError> {
    let limit = ENOUGH.saturating_add(1);
    let sql = format!(
        "SELECT COUNT(*) FROM (SELECT 1 FROM \"{}\" LIMIT {limit}) x",
        name.replace('"', "\"\"")
    );
    let counted = match db.rows("the census", &sql, &[]).await {
        Ok(counted) => counted,
        Err(_) if db.kind() == SourceKind::Sqlite => return Ok(()),
        Err(error) => return Err(error),
    };
    let number = counted.first().and_then(|row| row.integer(0));
    let number = number.and_then(|number| u64::try_from(number).ok()).unwrap_or(0);
    rows.more = number > ENOUGH;
    rows.rows = Some(number.min(ENOUGH));
    Ok(())
}

#[cfg(test)]
mod tests;
