//! The table of Synapse's tables.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::{super::Report, number};
use crate::{census::TableRows, synapse::database::whereabouts};

/// What became of every row. Tables without rows are left out here; `report.json` has them.
pub(super) fn table(report: &Report) -> Markup {
    let Some(census) = &report.census else {
        return html! {
            section #census {
                h2 { "Synapse’s tables" }
                p { "Synapse was read by its APIs, which show no tables: what they don’t give can’t be counted." }
            }
        };
    };
    let counted = census.tables.len().try_into().unwrap_or(0);
    let faulty = census.tables.iter().filter(|table| table.unaccounted != 0).count();
    html! {
        section #census {
            h2 { "Synapse’s tables " span.count { (number(counted)) } }
            @if census.meets() {
                p { (number(counted)) " tables, every row accounted for." }
            } @else {
                p { strong { (number(faulty.try_into().unwrap_or(0))) " tables with rows of which nothing says what became of them." } }
            }
            div.scroll.tall tabindex="0" role="region" aria-label="Synapse’s tables" {
                table {
                    thead {
                        tr {
                            th scope="col" { "Table" }
                            th scope="col" { "Rule" }
                            @for head in ["Rows", "Moved or read", "Left out", "Never move", "Unaccounted"] {
                                th.num scope="col" { (head) }
                            }
                            th scope="col" { "Why" }
                        }
                    }
                    tbody {
                        @for table in census.tables.iter().filter(|table| table.rows != Some(0)) { (line(table)) }
                    }
                }
            }
        }
    }
}

fn line(table: &TableRows) -> Markup {
    html! {
        tr {
            th scope="row" { (table.table) }
            td { (table.fate.words()) }
            td.num {
                @match table.rows {
                    Some(rows) => { @if table.more { "> " } (number(rows)) },
                    None => "not counted",
                }
            }
            td.num { (number(table.moved)) }
            td.num { (reasons(&table.left_out)) }
            td.num { (reasons(&table.never)) }
            td.num { @if table.unaccounted != 0 { strong { (table.unaccounted) } } @else { "0" } }
            td { (whereabouts(&table.table).unwrap_or("a table that the importer does not know")) }
        }
    }
}

fn reasons(reasons: &BTreeMap<String, u64>) -> Markup {
    let sum = reasons.values().copied().fold(0, u64::saturating_add);
    html! {
        (number(sum))
        @if sum > 0 {
            " " small {
                @for (index, (reason, rows)) in reasons.iter().enumerate() {
                    @if index > 0 { ", " }
                    (reason) " " (number(*rows))
                }
            }
        }
    }
}
