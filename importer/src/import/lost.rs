//! What a migration has lost of rooms: events that are in no timeline, events that states and other events rest on. The report
//! names each of them; here they are counted, so that no run ends as if nothing were missing.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    counted::count,
    findings::{
        Finding,
        codes::{self, Code},
    },
    tally::{DUPLICATE_EVENT, Kind, Skip, Tally},
};

/// Reasons for which nothing is lost, as the event is there already or Synapse shows it to nobody, or that the census tells.
const NO_LOSS: [&str; 6] =
    ["event-twice", "row-twice", DUPLICATE_EVENT, "also-in-timeline", "soft-failed", "row-missing"];
/// The same for events outside of timelines: the membership has what was in them.
const IN_THE_MEMBERSHIP: &str = "in-the-membership";

/// Events left out for one reason.
struct Lost<'a> {
    number: u64,
    rooms: BTreeSet<&'a str>,
    first: &'a Skip,
}

/// Findings about what the dump (`dumped`) and the import (`imported`) have left out of rooms.
pub(super) fn findings(dumped: &Tally, imported: &Tally) -> Vec<Finding> {
    let skips = || dumped.skipped.iter().chain(&imported.skipped);
    let mut findings = Vec::new();
    let of = |kind: Kind| skips().filter(move |skip| skip.kind == kind);
    for (reason, lost) in by_reason(of(Kind::TimelineEvent)) {
        findings.push(lost.finding(
            &codes::EVENTS_LEFT,
            reason,
            "not in the timelines of their rooms",
        ));
    }
    for (reason, lost) in by_reason(of(Kind::Outlier)) {
        findings.push(lost.finding(
            &codes::EVENTS_MISSING,
            reason,
            "that rooms' states or other events rest on",
        ));
    }
    findings
}

/// Events by the reason for which they are lost; not those of rooms that are left out whole.
fn by_reason<'a>(skips: impl Iterator<Item = &'a Skip>) -> BTreeMap<&'a str, Lost<'a>> {
    let mut lost = BTreeMap::new();
    for skip in skips {
        let reason = skip.reason.as_str();
        let is_event = skip.item.contains('$');
        if !is_event || NO_LOSS.contains(&reason) || reason == IN_THE_MEMBERSHIP {
            continue;
        }
        let lost =
            lost.entry(reason).or_insert(Lost { number: 0, rooms: BTreeSet::new(), first: skip });
        lost.number = lost.number.saturating_add(skip.number);
        lost.rooms.extend(skip.item.split_once(' ').map(|(room, _)| room));
    }
    lost
}

impl Lost<'_> {
    fn finding(&self, code: &Code, reason: &str, what: &str) -> Finding {
        let rooms = match self.rooms.len() {
            0 => String::new(),
            rooms => format!(" of {}", count(rooms, "room")),
        };
        let Skip { detail, item, .. } = self.first;
        let events = count(self.number, "event");
        code.of(reason, format!("{events}{rooms} {what}: {detail}; the first is {item}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(dumped: &Tally, imported: &Tally) -> Vec<(&'static str, String, String)> {
        let findings = findings(dumped, imported);
        findings
            .into_iter()
            .map(|found| (found.code, found.subject, found.text.into_owned()))
            .collect()
    }

    #[test]
    fn lost_events_are_counted_by_reason() {
        let mut dumped = Tally::default();
        dumped.skip(Kind::TimelineEvent, "!a:s $1", "state-missing", "no state");
        dumped.skip(Kind::TimelineEvent, "!b:s $2", "state-missing", "no state");
        dumped.skip(Kind::TimelineEvent, "!b:s $2", "event-twice", "twice");
        dumped.skip(Kind::Outlier, "!b:s $3", "event-missing", "not there");
        dumped.skip(Kind::Outlier, "!b:s $4", "soft-failed", "nobody saw it");
        let mut imported = Tally::default();
        imported.skip(Kind::TimelineEvent, "$5", "no-state-before", "unknown");
        imported.skip(Kind::Room, "!c:s", "no-timeline", "nothing in it");
        imported.leave_out(Kind::TimelineEvent, 9, "!c:s", "no-timeline", "nothing in it");
        imported.skip(Kind::Room, "!d:s", "room-version-unsupported", "version 1");
        let expected = [
            (
                "I011",
                "no-state-before",
                "1 event not in the timelines of their rooms: unknown; the first is $5",
            ),
            (
                "I011",
                "state-missing",
                "2 events of 2 rooms not in the timelines of their rooms: no state; the first is !a:s $1",
            ),
            (
                "I012",
                "event-missing",
                "1 event of 1 room that rooms' states or other events rest on: not there; the first is !b:s $3",
            ),
        ];
        let expected = expected.map(|(code, subject, text)| (code, subject.into(), text.into()));
        assert_eq!(said(&dumped, &imported), expected);
    }

    #[test]
    fn nothing_lost_says_nothing() {
        let mut tally = Tally::default();
        tally.skip(Kind::TimelineEvent, "$1", DUPLICATE_EVENT, "twice");
        assert_eq!(said(&tally, &tally), []);
    }
}
