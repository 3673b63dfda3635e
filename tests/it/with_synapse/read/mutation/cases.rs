//! All cases in an order that a seed decides.

use super::{
    database::Database,
    schema::{Column, Table},
    values::{self, Value},
};

/// A change of the database.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) number: usize,
    /// Table, column and what becomes of it.
    pub(super) name: String,
    pub(super) sql: Vec<String>,
}

/// A change without the row that it befalls.
#[derive(Debug)]
enum Change<'a> {
    Set(&'a Column, Value),
    /// A row's value becomes that of another row.
    Mix(&'a Column),
    Delete,
    DeleteAll,
    Twice,
    /// The row is there twice, with another row's value in one column.
    TwiceWith(&'a Column),
    /// Synapse has rejected an event that others rest on.
    Reject,
}

/// Events that are rejected, one in each case.
const REJECTED: usize = 12;

/// Numbers that a seed decides (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        let number = self.next().checked_rem(u64::try_from(end).unwrap()).unwrap();
        usize::try_from(number).unwrap()
    }
}

/// Every change of every table and column, each of a row that chance picks; those whose name has `only` in it, from number
/// `from` on. Numbers of changes that can't be are passed over.
pub(super) fn all<'a>(
    database: &'a Database,
    seed: usize,
    only: &'a str,
    from: usize,
) -> impl Iterator<Item = Case> + 'a {
    let mut random = Random(u64::try_from(seed).unwrap());
    let mut changes = Vec::new();
    for table in database.tables() {
        changes.extend(
            [Change::Delete, Change::DeleteAll, Change::Twice].map(|change| (table, change)),
        );
        if table.name == "events" {
            changes.extend([(); REJECTED].map(|()| (table, Change::Reject)));
        }
        for column in &table.columns {
            changes.extend(
                [Change::Mix(column), Change::TwiceWith(column)].map(|change| (table, change)),
            );
            let values = values::of(column.kind, column.json);
            changes.extend(values.into_iter().map(|value| (table, Change::Set(column, value))));
        }
    }
    for last in (1..changes.len()).rev() {
        changes.swap(last, random.below(last.saturating_add(1)));
    }
    let chosen = changes.into_iter().map(move |(table, change)| {
        let [row, other] = [(); 2].map(|()| table.rows[random.below(table.rows.len())].as_str());
        (name(table, &change), table, change, [row, other], random.next())
    });
    let chosen = chosen.filter(move |(name, ..)| name.contains(only));
    chosen.enumerate().skip(from).filter_map(
        |(number, (name, table, change, [row, other], luck))| {
            let sql = sql(database, table, &change, (row, other), luck)?;
            Some(Case { number, name, sql })
        },
    )
}

fn name(table: &Table, change: &Change<'_>) -> String {
    let table = &table.name;
    match change {
        Change::Set(column, value) => {
            let value: String = format!("{value:?}").chars().take(60).collect();
            format!("{table}.{} = {value}", column.name)
        }
        Change::Mix(column) => format!("{table}.{} of another row", column.name),
        Change::Delete => format!("{table} without a row"),
        Change::DeleteAll => format!("{table} without rows"),
        Change::Reject => "rejections with an event".to_owned(),
        Change::Twice => format!("{table} with a row twice"),
        Change::TwiceWith(column) => format!("{table} with a row twice, another {}", column.name),
    }
}

fn sql(
    database: &Database,
    table: &Table,
    change: &Change<'_>,
    (row, other): (&str, &str),
    luck: u64,
) -> Option<Vec<String>> {
    let name = &table.name;
    let is_row = database.is_row(row);
    let is_another = database.is_row(other);
    let twice = |change: Option<&Column>| {
        let columns: Vec<_> = table
            .all
            .iter()
            .map(|column| match change {
                Some(changed) if changed.name == *column => {
                    format!("(SELECT {column} FROM {name} WHERE {is_another})")
                }
                _ => column.clone(),
            })
            .collect();
        let (into, from) = (table.all.join(", "), columns.join(", "));
        vec![format!("INSERT INTO {name} ({into}) SELECT {from} FROM {name} WHERE {is_row}")]
    };
    Some(match change {
        Change::Delete => vec![format!("DELETE FROM {name} WHERE {is_row}")],
        Change::DeleteAll => vec![format!("DELETE FROM {name}")],
        Change::Reject => vec![format!(
            "INSERT INTO rejections (event_id, reason, last_check) SELECT event_id, 'auth_error', '0' FROM {name} WHERE {is_row}"
        )],
        Change::Twice => twice(None),
        Change::TwiceWith(column) => twice(Some(column)),
        Change::Mix(column) => {
            let column = &column.name;
            vec![format!(
                "UPDATE {name} SET {column} = (SELECT {column} FROM {name} WHERE {is_another}) WHERE {is_row}"
            )]
        }
        Change::Set(column, Value::Inside(json)) => {
            let held = database.text(name, &column.name, row)?;
            let json = values::inside(&held, json, luck)?;
            set(database, name, column, &Value::Text(json), &is_row)?
        }
        Change::Set(column, value) => set(database, name, column, value, &is_row)?,
    })
}

fn set(
    database: &Database,
    table: &str,
    column: &Column,
    value: &Value,
    is_row: &str,
) -> Option<Vec<String>> {
    let (mut sql, value) = database.literal(table, column, value)?;
    sql.push(format!("UPDATE {table} SET {} = {value} WHERE {is_row}", column.name));
    Some(sql)
}
