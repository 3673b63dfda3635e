//! Counting what was read, written and skipped: nothing disappears in silence.

#![warn(clippy::arithmetic_side_effects, reason = "a dump may say any numbers")]

mod rows;
mod words;

use std::{borrow::Cow, collections::BTreeMap};

use serde::{Deserialize, Serialize};

#[cfg(test)]
pub(crate) use self::words::reasons;
pub use self::{
    rows::{Met, OwnersRows, Rows},
    words::Reason,
};

/// The reason of an event that the dump has twice: the first one is used. `verify` counts such an event once.
pub(crate) const DUPLICATE_EVENT: &str = "duplicate-event";

/// What an item is; the rows of every report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Kind {
    /// An account of this server.
    User,
    /// A password hash of an account.
    PasswordHash,
    /// A display name, an avatar or another profile field.
    ProfileField,
    /// An e-mail address or telephone number.
    ThirdPartyId,
    /// An account at a single sign-on provider.
    ExternalId,
    /// A device of an account.
    Device,
    /// The access token of a device.
    AccessToken,
    /// A device's public keys.
    DeviceKeys,
    /// A one-time key.
    OneTimeKey,
    /// A fallback key.
    FallbackKey,
    /// A cross-signing key.
    CrossSigningKey,
    /// A user's signature of another user's master key.
    KeySignature,
    /// A version of a key backup.
    KeyBackup,
    /// A session in a key backup.
    KeyBackupSession,
    /// A to-device message that waits for its device.
    ToDeviceMessage,
    /// A message that waits for devices of another server.
    QueuedMessage,
    /// An event that another server or an application service has not received.
    QueuedEvent,
    /// A change of a user's devices that another server has not heard of.
    QueuedDeviceList,
    /// Account data that belongs to no room, push rules among them.
    AccountData,
    /// Account data of one room, tags among them.
    RoomAccountData,
    /// A pusher.
    Pusher,
    /// A sync filter.
    Filter,
    /// A read receipt.
    Receipt,
    /// The numbers of what is unread by a user in a room.
    UnreadCount,
    /// A room.
    Room,
    /// An event in a room's timeline.
    TimelineEvent,
    /// An event outside the timeline: state and auth events, soft-failed events.
    Outlier,
    /// The room state at some point of a room's history.
    State,
    /// A local user's membership in a room.
    Membership,
    /// A room alias.
    Alias,
    /// A room in the public directory.
    PublishedRoom,
    /// A blocked room.
    BlockedRoom,
    /// A signing key, present or old.
    SigningKey,
    /// An application service.
    Appservice,
    /// A media file of this server.
    Media,
    /// A media file of another server that this one keeps.
    RemoteMedia,
    /// That a media file is withdrawn from everybody.
    Quarantine,
    /// A thumbnail of a media file.
    Thumbnail,
    /// An image that was fetched for the preview of a URL.
    UrlPreview,
}

impl Kind {
    /// The name for people: `access token`.
    pub fn name(self) -> String {
        let name = serde_json::to_value(self).ok();
        let name = name.as_ref().and_then(serde_json::Value::as_str).unwrap_or_default();
        name.replace('-', " ")
    }
}

/// An item that was not carried over, and why.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Skip {
    /// What it is.
    pub kind: Kind,
    /// Which one: an id that an operator can look up. Never a secret.
    pub item: String,
    /// A stable, short code: `room-version-unsupported`, `event-unparsable`, ….
    pub reason: String,
    /// One sentence for a person: what is wrong and what can be done. A borrowed one is the program's own; an owned one may have
    /// other people's words in it.
    pub detail: Cow<'static, str>,
    /// How many there are, if they are told together.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub number: u64,
}

/// Counts of one run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Items read, by kind.
    pub read: BTreeMap<Kind, u64>,
    /// Items written, by kind.
    pub written: BTreeMap<Kind, u64>,
    /// Items left out, each with its reason.
    pub skipped: Vec<Skip>,
    /// Rows read of Synapse's tables, for the census.
    #[serde(skip)]
    pub rows: Rows,
}

impl Tally {
    /// Counts `number` items as read.
    pub fn read(&mut self, kind: Kind, number: u64) {
        let count = self.read.entry(kind).or_default();
        *count = count.saturating_add(number);
    }

    /// Counts `number` items as written.
    pub fn written(&mut self, kind: Kind, number: u64) {
        let count = self.written.entry(kind).or_default();
        *count = count.saturating_add(number);
    }

    /// Records an item as left out.
    pub fn skip(
        &mut self,
        kind: Kind,
        item: impl Into<String>,
        reason: &str,
        detail: impl Into<Cow<'static, str>>,
    ) {
        self.skipped.push(Skip {
            kind,
            item: item.into(),
            reason: reason.into(),
            detail: detail.into(),
            number: 1,
        });
    }

    /// Records an item that was counted as written as left out.
    pub fn revoke(
        &mut self,
        kind: Kind,
        item: impl Into<String>,
        reason: &str,
        detail: impl Into<Cow<'static, str>>,
    ) {
        if let Some(count) = self.written.get_mut(&kind) {
            *count = count.saturating_sub(1);
        }
        self.skip(kind, item, reason, detail);
    }

    /// Counts `number` items as read and left out for one reason; none leave no trace.
    pub fn leave_out(
        &mut self,
        kind: Kind,
        number: u64,
        item: impl Into<String>,
        reason: &str,
        detail: impl Into<Cow<'static, str>>,
    ) {
        if number > 0 {
            self.read(kind, number);
            self.skipped.push(Skip {
                kind,
                item: item.into(),
                reason: reason.into(),
                detail: detail.into(),
                number,
            });
        }
    }

    /// Adds what another tally counted.
    pub fn merge(&mut self, other: Self) {
        for (kind, number) in other.read {
            self.read(kind, number);
        }
        for (kind, number) in other.written {
            self.written(kind, number);
        }
        self.skipped.extend(other.skipped);
        self.rows.merge(other.rows);
    }

    /// Kinds for which *read = written + skipped* does not hold: a bug of ours, which must not pass unseen.
    pub fn unbalanced(&self) -> Vec<Kind> {
        let mut accounted = self.written.clone();
        for skip in &self.skipped {
            let count = accounted.entry(skip.kind).or_default();
            *count = count.saturating_add(skip.number);
        }
        let kinds: std::collections::BTreeSet<_> =
            self.read.keys().chain(accounted.keys()).copied().collect();
        let count =
            |counts: &BTreeMap<Kind, u64>, kind: &Kind| counts.get(kind).copied().unwrap_or(0);
        kinds
            .into_iter()
            .filter(|kind| count(&self.read, kind) != count(&accounted, kind))
            .collect()
    }
}

const fn one() -> u64 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
const fn is_one(number: &u64) -> bool {
    *number == 1
}
