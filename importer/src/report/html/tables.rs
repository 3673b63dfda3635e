//! The tables of rooms and accounts. What stayed behind comes first.

use maud::{Markup, html};

use super::{
    super::{ROOMS, Report, USERS},
    elsewhere, folded,
};
use crate::{
    counted::{counted, grouped},
    size::size,
};

/// Rows that are shown.
const SHOWN: usize = 500;

pub(super) fn rooms(report: &Report) -> Markup {
    let mut rooms: Vec<_> = report.rooms.iter().collect();
    rooms.sort_by_key(|room| room.left_out.is_none());
    let has_older = rooms.iter().any(|room| room.older.is_some_and(|older| older > 0));
    let body = html! {
        table.wide {
            thead {
                tr {
                    th scope="col" { "Room" }
                    th.num scope="col" { "People here" }
                    th.num scope="col" { "Events" }
                    @if has_older { th.num scope="col" { "Left for later" } }
                    th.num scope="col" { "Version" }
                    th scope="col" { "Moved" }
                }
            }
            tbody {
                @for room in rooms.iter().take(SHOWN) {
                    tr {
                        th scope="row" { (title(room.name.as_deref(), &room.room_id)) }
                        (cell("People here", &grouped(room.joined)))
                        (cell("Events", &grouped(room.events)))
                        @if has_older { (cell("Left for later", &room.older.map_or("–".into(), grouped))) }
                        (cell("Version", room.version.as_deref().unwrap_or("–")))
                        (moved(room.left_out.as_deref()))
                    }
                }
            }
        }
        (elsewhere(rooms.len(), SHOWN, ROOMS))
    };
    let left = rooms.iter().filter(|room| room.left_out.is_some()).count();
    folded("rooms", &counted(rooms.len(), ["room", "rooms"]), &behind(left), &body)
}

pub(super) fn users(report: &Report) -> Markup {
    let mut users: Vec<_> = report.users.iter().collect();
    users.sort_by_key(|user| user.left_out.is_none());
    let body = html! {
        table.wide {
            thead {
                tr {
                    th scope="col" { "Account" }
                    @for head in ["Devices", "Logins moved", "Rooms", "Files"] { th.num scope="col" { (head) } }
                    th scope="col" { "Notes" }
                    th scope="col" { "Moved" }
                }
            }
            tbody {
                @for user in users.iter().take(SHOWN) {
                    tr {
                        th scope="row" { (title(user.name.as_deref(), &user.user_id)) }
                        (cell("Devices", &grouped(user.devices)))
                        (cell("Logins moved", &part(user.tokens_moved, user.tokens)))
                        (cell("Rooms", &grouped(user.rooms)))
                        (cell("Files", &match user.files {
                            0 => "0".to_owned(),
                            files => format!("{} ({})", grouped(files), size(user.file_bytes)),
                        }))
                        td data-l="Notes" { (user.flags.join(", ")) }
                        (moved(user.left_out.as_deref()))
                    }
                }
            }
        }
        (elsewhere(users.len(), SHOWN, USERS))
    };
    let left = users.iter().filter(|user| user.left_out.is_some()).count();
    folded("users", &counted(users.len(), ["account", "accounts"]), &behind(left), &body)
}

/// `2 of 3`, or all.
fn part(some: u64, all: u64) -> String {
    if some == all { grouped(all) } else { format!("{} of {}", grouped(some), grouped(all)) }
}

fn behind(left: usize) -> String {
    match left {
        0 => "all moved".into(),
        _ => counted(left, ["stays behind", "stay behind"]),
    }
}

fn title(name: Option<&str>, id: &str) -> Markup {
    html! { (name.unwrap_or("–")) span.id { (id) } }
}

fn cell(label: &str, value: &str) -> Markup {
    html! { td.num data-l=(label) { (value) } }
}

fn moved(left_out: Option<&str>) -> Markup {
    html! {
        td data-l="Moved" {
            @match left_out {
                None => span.yes { "yes" },
                Some(why) => { span.no { "no" } ": " (why) },
            }
        }
    }
}
