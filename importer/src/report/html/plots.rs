//! Where size and time went: rows of a name, a bar, a value. The bars are SVG; the numbers are text beside them.

use maud::{Markup, html};

use super::{super::Report, number};
use crate::size::size;

/// Trees that are shown one by one.
const LARGEST: usize = 12;

pub(super) fn sizes(report: &Report) -> Markup {
    let dump: Vec<_> =
        report.dump.bytes.iter().map(|(name, bytes)| (name.clone(), *bytes)).collect();
    let mut trees: Vec<_> = report.database.trees.iter().collect();
    trees.sort_by_key(|(name, tree)| (std::cmp::Reverse(tree.bytes), **name));
    let rest = trees.split_off(trees.len().min(LARGEST));
    let mut database: Vec<_> =
        trees.iter().map(|(name, tree)| ((**name).to_owned(), tree.bytes)).collect();
    if !rest.is_empty() {
        let bytes = rest.iter().fold(0, |sum: u64, (_, tree)| sum.saturating_add(tree.bytes));
        database.push((format!("{} further trees", rest.len()), bytes));
    }
    html! {
        section #sizes {
            h2 { "Where the size is" }
            div.columns {
                (bars("In the dump", "Files", &dump, size))
                (bars("In the database", "Tree", &database, size))
            }
        }
    }
}

pub(super) fn times(report: &Report) -> Markup {
    let steps: Vec<_> = report
        .steps
        .iter()
        .map(|step| (step.step.to_owned(), milliseconds(step.seconds)))
        .collect();
    html! {
        section #times {
            h2 { "Where the time went" }
            (bars("Steps", "Step", &steps, seconds))
        }
    }
}

#[expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a duration of this process, not negative, and far from the limits"
)]
fn milliseconds(seconds: f64) -> u64 {
    (seconds * 1000.0) as u64
}

fn bars(caption: &str, head: &str, values: &[(String, u64)], show: fn(u64) -> String) -> Markup {
    let highest = values.iter().map(|(_, value)| *value).max().unwrap_or(0).max(1);
    let sum = values.iter().fold(0, |sum: u64, (_, value)| sum.saturating_add(*value));
    html! {
        table.bars {
            caption { (caption) ": " (show(sum)) }
            thead.hidden { tr { th scope="col" { (head) } th scope="col" { "Share" } th scope="col" { "Value" } } }
            tbody {
                @for (name, value) in values {
                    tr {
                        th scope="row" { (name) }
                        td.bar {
                            svg aria-hidden="true" focusable="false" {
                                rect height="100%" width={ (percent(*value, highest)) "%" } rx="2" {}
                            }
                        }
                        td.num { (show(*value)) }
                    }
                }
            }
        }
    }
}

fn percent(value: u64, of: u64) -> u64 {
    value.saturating_mul(100).checked_div(of).unwrap_or(0)
}

fn seconds(milliseconds: u64) -> String {
    let tenths = milliseconds.div_ceil(100);
    format!(
        "{}.{} s",
        number(tenths.checked_div(10).unwrap_or(0)),
        tenths.checked_rem(10).unwrap_or(0)
    )
}
