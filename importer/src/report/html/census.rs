//! The table of Synapse's tables.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::{super::Report, folded, sentence};
use crate::{
    counted::{count, grouped},
    dump::census::TableRows,
    synapse::database::whereabouts,
};

/// What became of every row. Tables without rows are left out here; `report.json` has them.
pub(super) fn table(report: &Report) -> Markup {
    let Some(census) = &report.census else {
        let body = html! {
            p { "Synapse was read through its APIs, which show no tables: what they don't provide can't be counted." }
        };
        return folded("census", "Synapse's tables", "not counted", &body);
    };
    let faulty = census.tables.iter().filter(|table| table.unaccounted != 0).count();
    let all = count(census.tables.len(), "table");
    let note = if census.meets() {
        format!("{all}, every row accounted for")
    } else {
        format!("{} of {all} with rows unaccounted for", grouped(faulty))
    };
    let body = html! {
        p { "What became of the rows of Synapse's database. Tables without rows are not shown." }
        table.wide {
            thead {
                tr {
                    th scope="col" { "Table" }
                    @for head in ["Rows", "Moved or read", "Left out", "Never move"] { th.num scope="col" { (head) } }
                    th scope="col" { "What it is" }
                }
            }
            tbody { @for table in census.tables.iter().filter(|table| table.rows != Some(0)) { (line(report, table)) } }
        }
    };
    folded("census", "Synapse's tables", &note, &body)
}

fn line(report: &Report, table: &TableRows) -> Markup {
    let what = whereabouts(&table.table).unwrap_or("a table that the importer does not know");
    let what = report.target.words(what);
    html! {
        tr {
            th.code scope="row" { (table.table) }
            td.num data-l="Rows" {
                @match table.rows {
                    Some(rows) => { @if table.more { "> " } (grouped(rows)) },
                    None => "not counted",
                }
            }
            td.num data-l="Moved or read" { (grouped(table.moved)) }
            td.num data-l="Left out" { (grouped(sum(&table.left_out))) }
            td.num data-l="Never move" { (grouped(sum(&table.never))) }
            td data-l="What it is" {
                (sentence(&what))
                @if table.unaccounted != 0 { " " strong { (grouped(table.unaccounted)) " unaccounted for" } }
            }
        }
    }
}

fn sum(reasons: &BTreeMap<String, u64>) -> u64 {
    reasons.values().copied().fold(0, u64::saturating_add)
}
