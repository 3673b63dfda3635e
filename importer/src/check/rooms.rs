//! Rooms and aliases.

use super::Checks;
use crate::{
    conduit::room_versions::is_supported,
    counted::count,
    findings::codes,
    source::survey::{RoomFacts, Survey},
};

pub(super) fn check(checks: &mut Checks, survey: &Survey) {
    for room in &survey.rooms {
        self::room(checks, room);
    }
    if let Some(room) = &survey.admins_alias {
        let alias = format!("#admins:{}", survey.server_name);
        checks.found(&codes::ADMINS_ALIAS, alias, format!("is an alias of {room}"));
    }
    for room in &survey.blocked_rooms {
        checks.found(&codes::BLOCKED_ROOM, room, "is blocked");
    }
    for (room, word) in &survey.unknown_visibility {
        let text = if word.is_empty() { "has no value".to_owned() } else { format!("is {word}") };
        checks.found(&codes::VISIBILITY, room, text);
    }
    for (room, text) in &survey.incomplete_events {
        checks.found(&codes::INCOMPLETE, room, text.clone());
    }
    for alias in &survey.foreign_aliases {
        checks.found(&codes::FOREIGN_ALIAS, alias, "is another server's alias");
    }
}

fn room(checks: &mut Checks, room: &RoomFacts) {
    let id = &room.room_id;
    let name = room.name.as_deref().map(|name| format!("{name:?}, ")).unwrap_or_default();
    let users = count(room.joined, "local user");
    if room.partial {
        checks.found(&codes::ROOM_PARTIAL, id, format!("{name}{users}"));
    }
    match room.version.as_deref() {
        version if is_supported(version) => {
            let text = format!("{name}{users}");
            if room.stateless && room.joined > 0 {
                checks.found(&codes::ROOM_STATELESS, id, text);
            } else if room.created == Some(false) && room.joined > 0 {
                checks.found(&codes::ROOM_BROKEN, id, text);
            }
        }
        Some(version) => {
            let text = format!("{name}version {version}, {users}");
            let code =
                if room.joined > 0 { &codes::ROOM_VERSION } else { &codes::ROOM_VERSION_LEFT };
            checks.found(code, id, text);
        }
        None if room.joined > 0 => {
            checks.found(&codes::ROOM_BROKEN, id, format!("{name}{users}"));
        }
        None => checks.found(&codes::ROOM_VERSION_UNKNOWN, id, format!("{name}an invite or knock")),
    }
}
