//! What the census of Synapse's tables says to an operator.

use std::collections::BTreeMap;

use super::Checks;
use crate::{
    conduit::schema::dialect::Dialect,
    counted::{count, counted},
    dump::census::{Census, Fate, TableRows},
    findings::{Finding, codes},
    source::survey::Survey,
};

/// A table that has a finding of its own.
const TOLD: &str = "delayed_events";

/// Tables whose rows move although their owners are no accounts.
const MEMBERSHIPS: [&str; 2] = ["local_current_membership", "room_memberships"];

/// Findings about a census; with that of a dump, about its sums as well.
pub fn findings(census: &Census, dialect: Dialect) -> Vec<Finding> {
    let mut checks = Checks::of(dialect);
    check(&mut checks, census);
    checks.finish()
}

/// The codes of [`findings`].
pub(crate) fn is_code(code: &str) -> bool {
    let own = [
        codes::OWNERS,
        codes::CENSUS,
        codes::UNKNOWN_TABLE,
        codes::NO_PLACE,
        codes::EMPTY_ROOM,
        codes::MEMBERS,
        codes::ORPHANS,
    ];
    own.iter().any(|own| own.code == code)
}

pub(super) fn survey(checks: &mut Checks, survey: &Survey) {
    if let Some(census) = &survey.census {
        check(checks, census);
    }
    for (room, text) in &survey.membership_conflicts {
        checks.found(&codes::MEMBERSHIPS, room, text.clone());
    }
    for (room, text) in &survey.broken_state {
        checks.found(&codes::STATE_ROW, room, text.clone());
    }
}

fn check(checks: &mut Checks, census: &Census) {
    let mut owners: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut members: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for table in &census.tables {
        let rows = table.rows.unwrap_or(0);
        let name = format!("`{}`", table.table);
        if table.fate == Fate::Unknown && rows > 0 {
            checks.found(&codes::UNKNOWN_TABLE, &name, number(table));
        } else if table.unaccounted != 0 {
            checks.found(&codes::CENSUS, &name, unaccounted(table));
        }
        if table.fate == Fate::NoPlace && rows > 0 && table.table != TOLD {
            let why = crate::synapse::database::whereabouts(&table.table).unwrap_or_default();
            let why = checks.dialect.words(why);
            checks.found(&codes::NO_PLACE, &name, format!("{}: {why}", number(table)));
        }
        if let ("event_json", [first, ..]) = (table.table.as_str(), table.owners.as_slice()) {
            let orphans: u64 = table.left_out.values().sum();
            let text = format!("{}, for example {}", count(orphans, "row"), first.owner);
            checks.found(&codes::ORPHANS, &name, text);
            continue;
        }
        for owner in &table.owners {
            match table.table.as_str() {
                "room_aliases" => {
                    let text = counted(owner.rows, ["alias", "aliases"]);
                    checks.found(&codes::EMPTY_ROOM, &owner.owner, text);
                }
                name => {
                    let all = if MEMBERSHIPS.contains(&name) { &mut members } else { &mut owners };
                    let tables: &mut Vec<_> = all.entry(&owner.owner).or_default();
                    tables.push(format!("{} in `{name}`", owner.rows));
                }
            }
        }
    }
    for (owner, tables) in owners {
        checks.found(&codes::OWNERS, owner, format!("rows: {}", tables.join(", ")));
    }
    for (member, tables) in members {
        checks.found(&codes::MEMBERS, member, format!("rows: {}", tables.join(", ")));
    }
}

fn number(table: &TableRows) -> String {
    let more = if table.more { "more than " } else { "" };
    format!("{more}{}", count(table.rows.unwrap_or(0), "row"))
}

fn unaccounted(table: &TableRows) -> String {
    let mut text = if table.unaccounted > 0 {
        format!("of {}, {} not read", number(table), counted(table.unaccounted, ["was", "were"]))
    } else {
        let twice = counted(table.unaccounted.unsigned_abs(), ["row was", "rows were"]);
        format!("{twice} read twice")
    };
    if !table.examples.is_empty() {
        text = format!("{text}; for example of {}", table.examples.join(", "));
    }
    text
}

#[cfg(test)]
mod tests;
