//! What was left out: what may be missed in the open, what is of no use any more folded.

use std::collections::{BTreeMap, BTreeSet};

use maud::{Markup, html};

use super::{
    super::{LEFT_OUT, Report, verdict::Behind},
    folded, sentence, with_code,
};
use crate::{
    counted::{counted, grouped},
    tally::{Kind, Skip},
};

/// Items shown of each reason.
const SHOWN: usize = 50;
/// Items of a reason that are shown without being asked for.
const OPEN: usize = 8;

type Groups<'a> = BTreeMap<(Kind, &'a str), Vec<&'a Skip>>;

fn groups<'a>(skips: impl Iterator<Item = &'a Skip>) -> Groups<'a> {
    let mut groups = Groups::new();
    for skip in skips {
        groups.entry((skip.kind, &skip.reason)).or_default().push(skip);
    }
    groups
}

fn sum(skips: &[&Skip]) -> u64 {
    skips.iter().fold(0, |sum, skip| sum.saturating_add(skip.number))
}

/// What may be missed.
pub(super) fn behind(report: &Report) -> Markup {
    let rooms = Behind::of(report.left_out());
    let missed = || report.left_out().filter(|skip| skip.is_missed());
    let mut groups: Vec<_> =
        groups(missed().filter(|skip| !rooms.takes(skip))).into_iter().collect();
    let with_rooms = sums(missed().filter(|skip| rooms.takes(skip)));
    if groups.is_empty() && with_rooms.is_empty() {
        return html! {};
    }
    groups.sort_by_key(|((kind, _), _)| (rank(*kind), *kind));
    // The first group of a kind is what links to the kind lead to.
    let mut seen = BTreeSet::new();
    let anchors: Vec<_> = groups
        .iter()
        .map(|((kind, _), _)| seen.insert(*kind).then(|| format!("behind-{}", name(*kind))))
        .collect();
    html! {
        section #behind {
            h2 { "What stays behind" }
            @for (((kind, _), skips), anchor) in groups.iter().zip(&anchors).filter(|(((kind, _), _), _)| rank(*kind) == 0) {
                (group(report, *kind, skips, anchor.as_deref()))
            }
            @if !with_rooms.is_empty() {
                details.group {
                    summary { span { b { "With these rooms" } ": their messages and memberships" } }
                    ul {
                        @for (kind, number) in &with_rooms {
                            li id=[(!seen.contains(kind)).then(|| format!("behind-{}", name(*kind)))] {
                                (counted(*number, kind.words()))
                            }
                        }
                    }
                }
            }
            @for (((kind, _), skips), anchor) in groups.iter().zip(&anchors).filter(|(((kind, _), _), _)| rank(*kind) > 0) {
                (group(report, *kind, skips, anchor.as_deref()))
            }
            p.note { "Synapse's data is unchanged." }
        }
    }
}

/// What people ask for first.
fn rank(kind: Kind) -> u8 {
    match kind {
        Kind::Room => 0,
        Kind::User => 1,
        Kind::Media => 2,
        Kind::TimelineEvent => 3,
        _ => 4,
    }
}

fn group(report: &Report, kind: Kind, skips: &[&Skip], anchor: Option<&str>) -> Markup {
    html! {
        details.group id=[anchor] open[rank(kind) < 4 && skips.len() <= OPEN] {
            summary { span { b { (counted(sum(skips), kind.words())) } (because(report, skips)) } }
            (items(report, skips))
        }
    }
}

/// The sums of each kind.
fn sums<'a>(skips: impl Iterator<Item = &'a Skip>) -> BTreeMap<Kind, u64> {
    let mut sums: BTreeMap<Kind, u64> = BTreeMap::new();
    for skip in skips {
        let sum = sums.entry(skip.kind).or_default();
        *sum = sum.saturating_add(skip.number);
    }
    sums
}

/// What nobody misses.
pub(super) fn of_no_use(report: &Report) -> Markup {
    let groups = groups(report.left_out().filter(|skip| !skip.is_missed()));
    let all = groups.values().map(|skips| sum(skips)).fold(0, u64::saturating_add);
    let note = format!("{} that nobody misses", counted(all, ["thing", "things"]));
    let body = html! {
        @if groups.is_empty() { p { "Nothing." } }
        @for ((kind, _), skips) in &groups {
            details.group id={ "unmissed-" (name(*kind)) } {
                summary { span { b { (counted(sum(skips), kind.words())) } (because(report, skips)) } }
                (items(report, skips))
            }
        }
    };
    folded("unmissed", "Left out on purpose", &note, &body)
}

/// The end of a kind's anchors.
pub(super) fn name(kind: Kind) -> String {
    kind.name().replace(' ', "-")
}

fn because(report: &Report, skips: &[&Skip]) -> Markup {
    let why = skips.first().and_then(|skip| skip.why());
    html! { @if let Some(why) = why { ": " (report.target.words(why.words)) } }
}

fn items(report: &Report, skips: &[&Skip]) -> Markup {
    // One sentence for all needs no list; nor does what is told together.
    let together = skips.len() == 1 && skips.first().is_some_and(|skip| skip.item == "all");
    html! {
        ul {
            @for skip in skips.iter().take(SHOWN) {
                li {
                    @if !together {
                        @if let Some(title) = title(report, skip) { b { (title) } " " span.id { (skip.item) } }
                        @else if !skip.item.is_empty() { b { (skip.item) } }
                        @if skip.number > 1 { " (" (grouped(skip.number)) ")" }
                        br;
                    }
                    (with_code(&sentence(&skip.detail)))
                }
            }
            @if skips.len() > SHOWN {
                li { "… and " (grouped(skips.len().saturating_sub(SHOWN))) " more, in " a href=(LEFT_OUT) { (LEFT_OUT) } }
            }
        }
    }
}

/// What people call it.
fn title<'a>(report: &'a Report, skip: &Skip) -> Option<&'a str> {
    let rooms = || report.rooms.binary_search_by(|room| room.room_id.as_str().cmp(&skip.item));
    let users = || report.users.binary_search_by(|user| user.user_id.as_str().cmp(&skip.item));
    match skip.kind {
        Kind::Room | Kind::TimelineEvent => report.rooms.get(rooms().ok()?)?.name.as_deref(),
        Kind::User => report.users.get(users().ok()?)?.name.as_deref(),
        _ => None,
    }
}
