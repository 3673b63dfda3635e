//! Tables. Those of rooms and accounts can be sorted and searched.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::{super::Report, number};
use crate::{
    size::size,
    tally::{Kind, Skip},
};

/// Items of each reason that are shown; `report.json` has all.
const SHOWN: usize = 100;

pub(super) fn kinds(report: &Report) -> Markup {
    html! {
        section #kinds {
            h2 { "What moved" }
            div.scroll tabindex="0" role="region" aria-label="What moved" {
                table {
                    thead {
                        tr {
                            th scope="col" { "Kind" }
                            @for head in ["Read from Synapse", "In the dump", "Read from the dump", "In Conduit", "Left out"] {
                                th.num scope="col" { (head) }
                            }
                        }
                    }
                    tbody {
                        @for facts in &report.kinds {
                            tr {
                                th scope="row" { (facts.kind.name()) }
                                @for value in [facts.read_from_synapse, facts.dumped, facts.read_from_dump, facts.written] {
                                    td.num { (number(value)) }
                                }
                                td.num { @if facts.left_out > 0 { strong { (number(facts.left_out)) } } @else { "0" } }
                            }
                        }
                    }
                }
            }
        }
    }
}

pub(super) fn rooms(report: &Report) -> Markup {
    // What stayed behind comes first.
    let mut rooms: Vec<_> = report.rooms.iter().collect();
    rooms.sort_by_key(|room| room.left_out.is_none());
    let rows = html! {
        @for room in &rooms {
            tr {
                th scope="row" { (room.name.as_deref().unwrap_or("–")) span.id { (room.room_id) } }
                td data-v=(version(room.version.as_deref())) { (room.version.as_deref().unwrap_or("–")) }
                (count(room.joined)) (count(room.events)) (count(room.older.unwrap_or(0))) (count(room.state))
                (moved(room.left_out.as_deref()))
            }
        }
    };
    let heads = [
        ("Room", false),
        ("Version", false),
        ("Members here", true),
        ("Events", true),
        ("Left for later", true),
        ("State", true),
        ("Moved", false),
    ];
    sortable("rooms", "Rooms", report.rooms.len(), &heads, &rows)
}

pub(super) fn users(report: &Report) -> Markup {
    let mut users: Vec<_> = report.users.iter().collect();
    users.sort_by_key(|user| user.left_out.is_none());
    let rows = html! {
        @for user in &users {
            tr {
                th scope="row" { (user.name.as_deref().unwrap_or("–")) span.id { (user.user_id) } }
                (count(user.devices))
                td.num data-v=(user.tokens_moved) {
                    (number(user.tokens_moved))
                    @if user.tokens != user.tokens_moved { " of " (number(user.tokens)) }
                }
                (count(user.rooms))
                (count(user.files))
                td.num data-v=(user.file_bytes) { (size(user.file_bytes)) }
                td { (user.flags.join(", ")) }
                (moved(user.left_out.as_deref()))
            }
        }
    };
    let heads = [
        ("Account", false),
        ("Devices", true),
        ("Logins moved", true),
        ("Rooms", true),
        ("Files", true),
        ("Their size", true),
        ("Notes", false),
        ("Moved", false),
    ];
    sortable("users", "Accounts", report.users.len(), &heads, &rows)
}

fn count(value: u64) -> Markup {
    html! { td.num data-v=(value) { (number(value)) } }
}

/// Versions sort as numbers, experimental ones after them.
fn version(version: Option<&str>) -> u64 {
    version.map_or(0, |version| version.parse().unwrap_or(u64::from(u32::MAX)))
}

fn moved(left_out: Option<&str>) -> Markup {
    html! {
        @match left_out {
            None => td data-v="1" { span.yes { "yes" } },
            Some(why) => td data-v="0" { span.no { "no" } ": " (why) },
        }
    }
}

fn sortable(id: &str, title: &str, rows: usize, heads: &[(&str, bool)], body: &Markup) -> Markup {
    html! {
        section id=(id) {
            h2 { (title) " " span.count { (number(rows.try_into().unwrap_or(0))) } }
            div.tools hidden {
                label { "Search " input type="search" aria-controls={ (id) "-table" } autocomplete="off"; }
                output aria-live="polite" {}
            }
            div.scroll.tall tabindex="0" role="region" aria-label=(title) {
                table.sortable id={ (id) "-table" } {
                    thead {
                        tr {
                            @for (head, is_number) in heads {
                                th.num[*is_number] scope="col" { (head) }
                            }
                        }
                    }
                    tbody { (body) }
                }
            }
            button.more type="button" hidden { "Show all" }
        }
    }
}

/// How many items were left out: some are told together.
fn items<'a>(skips: impl IntoIterator<Item = &'a Skip>) -> u64 {
    skips.into_iter().map(|skip| skip.number).fold(0, u64::saturating_add)
}

pub(super) fn left_out(title: &str, id: &str, skips: &[Skip]) -> Markup {
    let mut reasons: BTreeMap<(Kind, &str), Vec<&Skip>> = BTreeMap::new();
    for skip in skips {
        reasons.entry((skip.kind, &skip.reason)).or_default().push(skip);
    }
    html! {
        section id=(id) {
            h2 { (title) " " span.count { (number(items(skips))) } }
            @if reasons.is_empty() { p { "Nothing." } }
            @for ((kind, reason), skips) in &reasons {
                details {
                    summary { b { (kind.name()) } ": " (reason) " " span.code { (number(items(skips.iter().copied()))) } }
                    ul {
                        @for skip in skips.iter().take(SHOWN) { li { b { (skip.item) } ": " (skip.detail) } }
                        @if skips.len() > SHOWN { li { "… and more, in report.json" } }
                    }
                }
            }
        }
    }
}
