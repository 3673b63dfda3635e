//! What moved and what was left out, kind by kind: two columns that add up.

use std::collections::BTreeSet;

use maud::{Markup, html};

use super::{
    super::{KindFacts, Report},
    left,
};
use crate::{counted::grouped, tally::Kind};

/// What kinds are about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Group {
    People,
    Encryption,
    Rooms,
    Files,
    Server,
}

impl Group {
    const ALL: [(Self, &'static str); 5] = [
        (Self::People, "People and their devices"),
        (Self::Encryption, "Encryption"),
        (Self::Rooms, "Rooms"),
        (Self::Files, "Files"),
        (Self::Server, "The server"),
    ];

    fn of(kind: Kind) -> Self {
        match kind {
            Kind::User
            | Kind::PasswordHash
            | Kind::ProfileField
            | Kind::ThirdPartyId
            | Kind::ExternalId
            | Kind::Device
            | Kind::AccessToken
            | Kind::AccountData
            | Kind::Pusher
            | Kind::Filter => Self::People,
            Kind::DeviceKeys
            | Kind::CrossSigningKey
            | Kind::KeySignature
            | Kind::OneTimeKey
            | Kind::FallbackKey
            | Kind::KeyBackup
            | Kind::KeyBackupSession
            | Kind::ToDeviceMessage => Self::Encryption,
            Kind::Room
            | Kind::TimelineEvent
            | Kind::Outlier
            | Kind::State
            | Kind::Membership
            | Kind::Alias
            | Kind::PublishedRoom
            | Kind::BlockedRoom
            | Kind::RoomAccountData
            | Kind::Receipt
            | Kind::UnreadCount => Self::Rooms,
            Kind::Media
            | Kind::RemoteMedia
            | Kind::Quarantine
            | Kind::Thumbnail
            | Kind::UrlPreview => Self::Files,
            Kind::SigningKey
            | Kind::Appservice
            | Kind::QueuedMessage
            | Kind::QueuedEvent
            | Kind::QueuedDeviceList => Self::Server,
        }
    }
}

pub(super) fn table(report: &Report) -> Markup {
    let missed = report.left_out().filter(|skip| skip.is_missed());
    let missed: BTreeSet<Kind> = missed.map(|skip| skip.kind).collect();
    html! {
        section #kinds {
            h2 { "What moved" }
            table.sums {
                thead {
                    tr {
                        th scope="col" { span.hidden { "What" } }
                        th.num scope="col" { "Moved" }
                        th.num scope="col" { "Left out" }
                        th.num.all scope="col" { "In Synapse" }
                    }
                }
                @for (group, title) in Group::ALL {
                    @let facts: Vec<_> = report.kinds.iter().filter(|facts| Group::of(facts.kind) == group).collect();
                    @if !facts.is_empty() {
                        tbody {
                            tr.title { th scope="rowgroup" colspan="4" { (title) } }
                            @for facts in facts { (line(facts, missed.contains(&facts.kind))) }
                        }
                    }
                }
            }
        }
    }
}

fn line(facts: &KindFacts, is_missed: bool) -> Markup {
    let [_, words] = facts.kind.words();
    let prefix = if is_missed { "#behind-" } else { "#unmissed-" };
    html! {
        tr {
            th scope="row" { (words) }
            td.num { (grouped(facts.written)) }
            td.num {
                @if facts.left_out == 0 { span.none { "–" } } @else {
                    a.missed[is_missed] href={ (prefix) (left::name(facts.kind)) } { (grouped(facts.left_out)) }
                }
            }
            td.num.all { (grouped(facts.written.saturating_add(facts.left_out))) }
        }
    }
}
