//! Tables by the owners of their rows.

use std::collections::{BTreeMap, BTreeSet};

use ruma::ServerName;

use super::{
    NAMED, Owners, Stranger, stranger,
    table::{Owner, OwnerKind, Table, is_local},
};
use crate::{
    synapse::database::{DatabaseError, connection::Connection},
    tally::Met,
};

/// Examples that are named of rows that were not read.
const EXAMPLES: usize = 5;
/// The first number that stands for a missing owner in [`passes`]; smaller ones stand for parts.
const FIRST_OWNER: usize = 100;

/// What a table holds.
#[derive(Debug, Default)]
pub(super) struct OwnerCounts {
    /// All rows.
    pub(super) rows: u64,
    /// Those that never move, by reason.
    pub(super) parts: BTreeMap<&'static str, u64>,
    /// Owners that don't exist, by what they should be.
    pub(super) owners: Vec<(OwnerKind, Vec<Stranger>)>,
}

/// Counts a table's rows in one pass: parts that never move, and rows whose owner doesn't exist.
pub(super) async fn count(
    db: &mut Connection,
    who: Owners<'_>,
    table: &'static Table,
) -> Result<OwnerCounts, DatabaseError> {
    let sql = localized(&passes(table), who.server_name);
    let mut counted = OwnerCounts::default();
    let mut owners: Vec<(OwnerKind, Vec<Stranger>)> =
        table.owners.iter().map(|owner| (owner.of, Vec::new())).collect();
    let is_known = |of: OwnerKind, name: &str| match of {
        OwnerKind::Room | OwnerKind::RoomOfOthers => who.rooms_of_state.contains(name),
        OwnerKind::Localpart => {
            who.senders.keys().any(|user| user.localpart() == name || *user == name)
        }
        OwnerKind::User | OwnerKind::AnyUser | OwnerKind::Member => {
            who.senders.keys().any(|user| *user == name)
        }
    };
    db.each(table.name, &sql, &[], |row| {
        let number = |index| row.integer(index).and_then(|number| u64::try_from(number).ok());
        let rows = number(2).unwrap_or(0);
        counted.rows = counted.rows.saturating_add(rows);
        let place = number(1).and_then(|place| usize::try_from(place).ok()).unwrap_or(0);
        if let Some(part) = place.checked_sub(1).and_then(|place| table.parts.get(place)) {
            let sum = counted.parts.entry(part.reason).or_default();
            *sum = sum.saturating_add(rows);
        } else if let Some((of, owners)) =
            place.checked_sub(FIRST_OWNER).and_then(|place| owners.get_mut(place))
        {
            let owner = row.label();
            if !is_known(*of, &owner) {
                push(owners, Stranger { owner, rows });
            }
        }
    })
    .await?;
    counted.owners = owners;
    Ok(counted)
}

/// Adds the rows of users and rooms that exist and could not be read.
pub(super) async fn count_left_out(
    db: &mut Connection,
    who: Owners<'_>,
    users_left_out: &BTreeSet<String>,
    table: &'static Table,
    counted: &mut OwnerCounts,
) -> Result<(), DatabaseError> {
    for (owner, (_, found)) in table.owners.iter().zip(&mut counted.owners) {
        let names = match owner.of {
            OwnerKind::Room | OwnerKind::RoomOfOthers => who.rooms_left_out,
            OwnerKind::User | OwnerKind::Localpart | OwnerKind::AnyUser | OwnerKind::Member => {
                users_left_out
            }
        };
        // Memberships of such rooms were counted with the rooms.
        if names.is_empty()
            || owner.of == OwnerKind::Member
            || table.name == "local_current_membership"
        {
            continue;
        }
        let mut ids: Vec<&str> = names.iter().map(String::as_str).collect();
        if owner.of == OwnerKind::Localpart {
            let localparts =
                names.iter().filter_map(|name| name.strip_prefix('@')?.split(':').next());
            ids.extend(localparts);
        }
        let mut conditions = vec![format!("t.{} IN ($IDS)", owner.column)];
        conditions.extend(table.parts.iter().map(|part| format!("NOT ({})", part.condition)));
        if owner.of == OwnerKind::RoomOfOthers {
            conditions.push(format!("NOT ({})", is_local("user_id")));
        }
        let sql = format!(
            "SELECT t.{0}, COUNT(*) FROM {1} t WHERE {2} GROUP BY t.{0}",
            owner.column,
            table.name,
            localized(&conditions.join(" AND "), who.server_name)
        );
        let rows = db.rows_in(table.name, &sql, &ids).await?;
        for row in &rows {
            push(found, stranger(row));
        }
    }
    Ok(())
}

/// Owners of whom fewer or more rows were read than the table has.
pub(super) async fn examples(
    db: &mut Connection,
    server_name: &ServerName,
    table: &'static Table,
    met: &Met,
) -> Result<Vec<String>, DatabaseError> {
    let [Owner { column, .. }] = table.owners else { return Ok(Vec::new()) };
    let sql = format!("SELECT {column}, COUNT(*) FROM {} GROUP BY {column}", table.name);
    let mut examples = Vec::new();
    let server = format!(":{server_name}");
    db.each(table.name, &sql, &[], |row| {
        let name = row.label();
        let rows = row.integer(1).and_then(|rows| u64::try_from(rows).ok()).unwrap_or(0);
        let full = format!("@{name}{server}");
        let seen = met.of_owner(&name).max(met.of_owner(&full));
        if seen != rows && examples.len() < EXAMPLES {
            examples.push(format!("{name} ({rows}, {seen} read)"));
        }
    })
    .await?;
    Ok(examples)
}

/// SQL with this server's name in it.
fn localized(sql: &str, server_name: &ServerName) -> String {
    let name = server_name.as_str().replace('\'', "''");
    sql.replace("$1", &format!("':{name}'"))
}

/// Keeps an owner. Beyond those that are named, the last one stands for the rest.
fn push(owners: &mut Vec<Stranger>, owner: Stranger) {
    if owners.len() < NAMED {
        owners.push(owner);
    } else if let Some(last) = owners.last_mut() {
        "further ones".clone_into(&mut last.owner);
        last.rows = last.rows.saturating_add(owner.rows);
    }
}

/// The query of a table: owner, number of the part or owner, rows.
fn passes(table: &Table) -> String {
    let parts = table.parts.iter().map(|part| part.condition.to_owned());
    let owners = table.owners.iter().map(|owner| owner.is_missing());
    let cases = (1..).zip(parts).chain((FIRST_OWNER..).zip(owners));
    let cases = cases.fold(String::new(), |sql, (number, condition)| {
        sql + " WHEN " + &condition + " THEN " + &number.to_string()
    });
    let names = table.owners.iter().fold(String::new(), |sql, owner| {
        sql + " WHEN " + &owner.is_missing() + " THEN t." + owner.column
    });
    let part = if cases.is_empty() { "0".to_owned() } else { format!("CASE{cases} ELSE 0 END") };
    let owner =
        if names.is_empty() { "CAST(NULL AS TEXT)".to_owned() } else { format!("CASE{names} END") };
    format!(
        "SELECT o, p, COUNT(*) FROM (SELECT {owner} AS o, {part} AS p FROM {} t) x GROUP BY o, p",
        table.name
    )
}
