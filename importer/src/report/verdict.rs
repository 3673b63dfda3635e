//! How a migration ended, in one sentence.

use std::collections::BTreeSet;

use serde::Serialize;

use super::Report;
use crate::{
    counted::{count, counted},
    findings::codes::{self, Code},
    tally::{Kind, Skip},
};

/// How a migration ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Everything moved that anybody may miss.
    NothingMissing,
    /// The database is good, and something stays behind.
    SomethingMissing,
    /// The database did not pass.
    NotComplete,
}

/// Findings about rows that are no items, so that nothing else counts them.
const STAYING_ROWS: [Code; 5] =
    [codes::OWNERS, codes::CENSUS, codes::UNKNOWN_TABLE, codes::STATE_ROW, codes::EMPTY_ROOM];

/// What stays behind and may be missed.
#[derive(Debug, Default)]
struct Missed {
    rooms: u64,
    accounts: u64,
    files: u64,
    /// Those of rooms that stay behind are not counted again.
    events: u64,
    others: u64,
}

/// Rooms that stay behind.
#[derive(Debug)]
pub(super) struct Behind<'a>(BTreeSet<&'a str>);

impl<'a> Behind<'a> {
    pub(super) fn of(skips: impl Iterator<Item = &'a Skip>) -> Self {
        Self(skips.filter(|skip| skip.kind == Kind::Room).map(|skip| skip.item.as_str()).collect())
    }

    /// Whether something stays behind because its room does.
    pub(super) fn takes(&self, skip: &Skip) -> bool {
        // `MEMBER in ROOM`
        let room = skip.item.rsplit_once(" in ").map_or(skip.item.as_str(), |(_, room)| room);
        skip.kind != Kind::Room && (skip.reason == "room-left-out" || self.0.contains(room))
    }
}

impl Missed {
    fn of<'a>(skips: impl Iterator<Item = &'a Skip> + Clone) -> Self {
        let behind = Behind::of(skips.clone());
        let mut missed = Self::default();
        for skip in skips.filter(|skip| skip.is_missed() && !behind.takes(skip)) {
            let number = match skip.kind {
                Kind::Room => &mut missed.rooms,
                Kind::User => &mut missed.accounts,
                Kind::Media | Kind::RemoteMedia => &mut missed.files,
                Kind::TimelineEvent => &mut missed.events,
                _ => &mut missed.others,
            };
            *number = number.saturating_add(skip.number);
        }
        missed
    }
}

impl Report {
    /// What was left out by dump and import.
    pub(super) fn left_out(&self) -> impl Iterator<Item = &Skip> + Clone {
        self.left_out_by_dump.iter().chain(&self.left_out_by_import)
    }

    /// The verdict and the sentence that says it.
    pub(super) fn judge(&self) -> (Verdict, String) {
        if !self.database.complete {
            return (
                Verdict::NotComplete,
                format!("Not moved. Don't start {} on it.", self.target),
            );
        }
        let Missed { rooms, accounts, files, events, others } = Missed::of(self.left_out());
        let mut parts: Vec<String> =
            [(rooms, "room"), (accounts, "account"), (files, "file"), (events, "message")]
                .into_iter()
                .filter(|(number, _)| *number > 0)
                .map(|(number, word)| count(number, word))
                .collect();
        let waiting = self.later.rooms.saturating_add(self.later.lost_rooms);
        if parts.is_empty() && (waiting > 0 || self.later.uncounted) {
            let rooms =
                if waiting > 0 { format!(" of {}", count(waiting, "room")) } else { String::new() };
            let text = format!("Moved. Older messages{rooms} are in Synapse alone.");
            return (Verdict::SomethingMissing, text);
        }
        if parts.is_empty() && others > 0 {
            parts.push(counted(others, ["smaller thing", "smaller things"]));
        }
        let stays = |code: &str| STAYING_ROWS.iter().any(|staying| staying.code == code);
        if parts.is_empty() && self.findings.iter().any(|finding| stays(finding.code)) {
            let text = "Moved. Some rows of Synapse's tables stay behind.";
            return (Verdict::SomethingMissing, text.into());
        }
        let Some(last) = parts.pop() else {
            return (Verdict::NothingMissing, "Moved. Nothing is missing.".into());
        };
        let one = parts.is_empty() && last.starts_with("1 ");
        let all = if parts.is_empty() { last } else { format!("{} and {last}", parts.join(", ")) };
        let stay = if one { "stays" } else { "stay" };
        (Verdict::SomethingMissing, format!("Moved. {all} {stay} behind."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn skip(kind: Kind, item: &str, reason: &str, number: u64) -> Skip {
        Skip { kind, item: item.into(), reason: reason.into(), detail: "x".into(), number }
    }

    #[test]
    fn what_goes_with_a_room_is_not_counted_again() {
        let skips = [
            skip(Kind::Room, "!a:own.test", "room-version-unsupported", 1),
            skip(Kind::TimelineEvent, "!a:own.test", "room-version-unsupported", 70),
            skip(Kind::TimelineEvent, "$lost", "state-missing", 2),
            skip(Kind::Receipt, "m.read of @a in !a:own.test", "room-left-out", 1),
            skip(Kind::Thumbnail, "all", "made-anew", 23),
            skip(Kind::ThirdPartyId, "@a", "not-in-conduit", 3),
            skip(Kind::RemoteMedia, "mxc://b/c", "file-missing", 1),
        ];
        let Missed { rooms, accounts, files, events, others } = Missed::of(skips.iter());
        assert_eq!([rooms, accounts, files, events, others], [1, 0, 1, 2, 3]);
    }
}
