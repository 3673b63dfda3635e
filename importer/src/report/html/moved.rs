//! What moved and what was left out, kind by kind: two columns that add up.

use std::collections::BTreeSet;

use maud::{Markup, html};

use super::{
    super::{KindFacts, Report},
    left,
};
use crate::{
    counted::grouped,
    tally::Kind::{
        self, AccessToken, AccountData, Alias, Appservice, BlockedRoom, CrossSigningKey, Device,
        DeviceKeys, ExternalId, FallbackKey, Filter, KeyBackup, KeyBackupSession, KeySignature,
        Media, Membership, OneTimeKey, Outlier, PasswordHash, ProfileField, PublishedRoom, Pusher,
        Quarantine, QueuedDeviceList, QueuedEvent, QueuedMessage, Receipt, RemoteMedia, Room,
        RoomAccountData, SigningKey, State, ThirdPartyId, Thumbnail, TimelineEvent,
        ToDeviceMessage, UnreadCount, UrlPreview, User,
    },
};

/// Kinds under the words for what they are about.
const GROUPS: [(&str, &[Kind]); 5] = [
    (
        "People and their devices",
        &[
            User,
            PasswordHash,
            ProfileField,
            ThirdPartyId,
            ExternalId,
            Device,
            AccessToken,
            AccountData,
            Pusher,
            Filter,
        ],
    ),
    (
        "Encryption",
        &[
            DeviceKeys,
            CrossSigningKey,
            KeySignature,
            OneTimeKey,
            FallbackKey,
            KeyBackup,
            KeyBackupSession,
            ToDeviceMessage,
        ],
    ),
    (
        "Rooms",
        &[
            Room,
            TimelineEvent,
            Outlier,
            State,
            Membership,
            Alias,
            PublishedRoom,
            BlockedRoom,
            RoomAccountData,
            Receipt,
            UnreadCount,
        ],
    ),
    ("Files", &[Media, RemoteMedia, Quarantine, Thumbnail, UrlPreview]),
    ("The server", &[SigningKey, Appservice, QueuedMessage, QueuedEvent, QueuedDeviceList]),
];

pub(super) fn table(report: &Report) -> Markup {
    let missed = report.left_out().filter(|skip| skip.is_missed());
    let missed: BTreeSet<Kind> = missed.map(|skip| skip.kind).collect();
    let of = |kind: Kind| report.kinds.iter().find(|facts| facts.kind == kind);
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
                @for (title, kinds) in GROUPS {
                    @let facts: Vec<_> = kinds.iter().filter_map(|kind| of(*kind)).collect();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_in_one_group() {
        // Kinds are numbered in their order, the last one being that of previews.
        let mut kinds: Vec<_> =
            GROUPS.iter().flat_map(|(_, kinds)| kinds.iter().copied()).collect();
        kinds.sort();
        let number = kinds.len();
        kinds.dedup();
        assert_eq!(kinds.len(), number);
        assert_eq!(kinds.first(), Some(&User));
        assert_eq!(kinds.last(), Some(&UrlPreview));
        assert_eq!(number, 39);
    }
}
