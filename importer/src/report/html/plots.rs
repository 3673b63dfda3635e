//! Where size and time went: rows of a name, a bar, a value. The bars are SVG; the numbers are text beside them.

use std::{collections::BTreeMap, time::Duration};

use maud::{Markup, html};

use super::{super::Report, folded};
use crate::{counted::count, progress::time, size::size};

/// What of the database is what, by what is in a tree's name; the first that fits counts.
const ABOUT: [(&[&str], &str); 7] = [
    (&["tokenid"], "search"),
    (&["state"], "states of rooms"),
    (&["todevice", "key", "backup", "device", "token"], "devices and encryption"),
    (&["media", "file"], "records of files"),
    (&["pdu", "event", "relat", "thread", "referenced"], "messages and events"),
    (&["room", "alias", "publicroom", "server"], "rooms and members"),
    (&["user"], "accounts"),
];
const OTHER: &str = "other";

fn about(tree: &str) -> &'static str {
    let fits = |(parts, _): &&(&[&str], &str)| parts.iter().any(|part| tree.contains(part));
    ABOUT.iter().find(fits).map_or(OTHER, |(_, name)| *name)
}

/// What of the dump is what.
fn in_dump(directory: &str) -> &'static str {
    match directory {
        "rooms" => "rooms",
        "users" => "accounts",
        "media" => "copies of files",
        "media.jsonl" => "list of files",
        "outbox.jsonl" => "queue for other servers",
        _ => OTHER,
    }
}

pub(super) fn sizes(report: &Report) -> Markup {
    let dump = report.dump.bytes.iter().map(|(name, bytes)| (in_dump(name), *bytes));
    let database = report.database.trees.iter().map(|(name, tree)| (about(name), tree.bytes));
    let body = html! {
        div.columns {
            (bars("In the dump", "Part", &grouped(dump), size))
            (bars("In the database", "Part", &grouped(database), size))
        }
        p.note {
            "Before compression, and without the files: these are " (size(report.media.bytes))
            @if report.media.prepared > 0 {
                ", and " (count(report.media.prepared, "file")) " of them had been copied before the migration"
            }
            "."
        }
    };
    folded("sizes", "Where the space is", "", &body)
}

/// The sums of each name, the largest first.
fn grouped(parts: impl Iterator<Item = (&'static str, u64)>) -> Vec<(String, u64)> {
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    for (name, bytes) in parts {
        let sum = sums.entry(name).or_default();
        *sum = sum.saturating_add(bytes);
    }
    let mut sums: Vec<_> = sums.into_iter().map(|(name, bytes)| (name.to_owned(), bytes)).collect();
    sums.sort_by_key(|(name, bytes)| (name == OTHER, std::cmp::Reverse(*bytes)));
    sums
}

pub(super) fn times(report: &Report) -> Markup {
    let milliseconds = |seconds: f64| {
        let duration = Duration::try_from_secs_f64(seconds).unwrap_or_default();
        u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
    };
    let steps = report.steps.iter();
    let steps: Vec<_> =
        steps.map(|step| (step.step.to_owned(), milliseconds(step.seconds))).collect();
    let show = |milliseconds| time(Duration::from_millis(milliseconds));
    folded("times", "Where the time went", "", &bars("All steps", "Step", &steps, show))
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
