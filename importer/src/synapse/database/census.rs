//! The census: every row of every table is accounted for.
//!
//! Readers count in [`Tally::rows`] the rows that they read. Here all tables are counted, in the same snapshot. The difference is
//! explained: rows whose owner is no account, rows of rooms without a local user, rows that by rule never move ([`table::Part`]).
//! Rows that stay unexplained are a fault, and are reported as one.
//!
//! A table whose rows are no items of their own is not counted beyond [`ENOUGH`], so that a check stays cheap.
//!
//! [`Counting`] asks the database for what tables hold, which is most of the work, and which the readers of a snapshot share. What
//! was read is compared with it at the end, by [`read`].

mod counting;
mod events;
mod owners;
mod senders;
mod table;
mod tables;

use std::collections::{BTreeMap, BTreeSet};

use ruma::{OwnedUserId, ServerName};

pub(super) use self::{counting::Counting, senders::active_senders, tables::find};
use self::{
    counting::{Counted, In},
    owners::OwnerCounts,
    table::{OwnerKind, Table},
};
use super::{
    DatabaseError, Facts,
    connection::{Connection, Databases},
    rooms::ListedRooms,
    row::KeptRow,
};
use crate::{
    dump::{
        History,
        census::{Census, Fate, Stranger, TableRows},
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
    /// Rooms of which only their state says that a local user is in them.
    rooms_of_state: &'a BTreeSet<String>,
    /// Rooms in the table of memberships that can't move.
    rooms_left_out: &'a BTreeSet<String>,
}

impl<'a> Owners<'a> {
    /// As far as they are known, from what the list of rooms found.
    pub(super) fn of(facts: &'a Facts, rooms: &'a ListedRooms) -> Self {
        Self {
            server_name: &facts.config.server_name,
            history: facts.extent.history,
            senders: &facts.senders,
            rooms_of_state: &rooms.of_state,
            rooms_left_out: &rooms.left_out,
        }
    }
}

/// Counts the tables that are not `counting`'s yet. With what was read, in `tally`, sums are made; without, rows and owners are
/// counted only. `users_left_out` are users with a row in `users` that can't move.
pub(super) async fn read(
    databases: &mut Databases,
    who: Owners<'_>,
    users_left_out: &BTreeSet<String>,
    counting: &Counting,
    mut tally: Option<&mut Tally>,
) -> Result<Census, DatabaseError> {
    counting.count(databases, who).await?;
    let db = &mut databases.main;
    let mut census = Census::default();
    for ((place, name), counted) in counting.counted() {
        let table = find(&name);
        let title = match place {
            In::Main => name,
            In::State => format!("state:{name}"),
        };
        let mut rows = TableRows::new(&title, table.map_or(Fate::Unknown, |table| table.fate));
        match (counted, table, tally.as_deref_mut()) {
            (Counted::Owners(mut counted), Some(table), tally) => {
                owners::count_left_out(db, who, users_left_out, table, &mut counted).await?;
                account_for_owners(db, who, table, &mut rows, counted, tally).await?;
            }
            (Counted::Events(counted), _, Some(tally)) => {
                events::account_for(db, who, counted, &mut rows, tally).await?;
            }
            (Counted::EventJson(counted, orphans), _, tally) => {
                (rows.rows, rows.more) = (counted.rows, counted.more);
                orphans.leave_out(&mut rows, tally);
            }
            (counted, _, _) => (rows.rows, rows.more) = counted.rows(),
        }
        if rows.fate != Fate::Moves {
            settle(&mut rows);
        }
        census.tables.push(rows);
    }
    Ok(census)
}

async fn account_for_owners(
    db: &mut Connection,
    who: Owners<'_>,
    table: &'static Table,
    rows: &mut TableRows,
    counted: OwnerCounts,
    tally: Option<&mut Tally>,
) -> Result<(), DatabaseError> {
    rows.rows = Some(counted.rows);
    let owners = take(rows, counted);
    if let Some(tally) = tally {
        report(table, &owners, tally);
        if table.name == "rooms" {
            published_by_nobody(db, who, tally).await?;
        }
        if table.fate == Fate::Moves {
            balance(db, who, table, rows, tally).await?;
        }
    }
    Ok(())
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

#[cfg(test)]
mod tests;
