//! What kinds and reasons are called where people read of them who know Synapse and not this program.

use super::{
    Kind::{
        self, AccessToken, AccountData, Alias, Appservice, BlockedRoom, CrossSigningKey, Device,
        DeviceKeys, ExternalId, FallbackKey, Filter, KeyBackup, KeyBackupSession, KeySignature,
        Media, Membership, OneTimeKey, Outlier, PasswordHash, ProfileField, PublishedRoom, Pusher,
        Quarantine, QueuedDeviceList, QueuedEvent, QueuedMessage, Receipt, RemoteMedia, Room,
        RoomAccountData, SigningKey, State, ThirdPartyId, Thumbnail, TimelineEvent,
        ToDeviceMessage, UnreadCount, UrlPreview, User,
    },
    Skip,
};

impl Kind {
    /// The words for one and for several.
    pub fn words(self) -> [&'static str; 2] {
        match self {
            User => ["account", "accounts"],
            PasswordHash => ["password", "passwords"],
            ProfileField => {
                ["name, avatar or other profile field", "names, avatars, profile fields"]
            }
            ThirdPartyId => {
                ["e-mail address or telephone number", "e-mail addresses, telephone numbers"]
            }
            ExternalId => ["single sign-on account", "single sign-on accounts"],
            Device => ["device", "devices"],
            AccessToken => ["login", "logins"],
            DeviceKeys => ["device's encryption keys", "devices' encryption keys"],
            OneTimeKey => ["one-time key", "one-time keys"],
            FallbackKey => ["fallback key", "fallback keys"],
            CrossSigningKey => ["cross-signing key", "cross-signing keys"],
            KeySignature => ["verification of another user", "verifications of other users"],
            KeyBackup => ["key backup", "key backups"],
            KeyBackupSession => ["key in a key backup", "keys in key backups"],
            ToDeviceMessage => {
                ["message that waits for a device", "messages that wait for a device"]
            }
            QueuedMessage => {
                ["message that waits for another server", "messages that wait for other servers"]
            }
            QueuedEvent => [
                "event that waits for a server or bridge",
                "events that wait for servers and bridges",
            ],
            QueuedDeviceList => [
                "change of devices that waits for a server",
                "changes of devices that wait for servers",
            ],
            AccountData => ["setting of an account", "settings of accounts"],
            RoomAccountData => {
                ["setting of an account for a room", "settings of accounts for rooms"]
            }
            Pusher => ["notification target", "notification targets"],
            Filter => ["sync filter", "sync filters"],
            Receipt => ["read receipt", "read receipts"],
            UnreadCount => ["unread count", "unread counts"],
            Room => ["room", "rooms"],
            TimelineEvent => ["message or other event", "messages and other events"],
            Outlier => ["event outside of the timelines", "events outside of the timelines"],
            State => ["room's state at some time", "rooms' states at some time"],
            Membership => ["membership", "memberships"],
            Alias => ["room address", "room addresses"],
            PublishedRoom => ["room in the public directory", "rooms in the public directory"],
            BlockedRoom => ["blocked room", "blocked rooms"],
            SigningKey => ["signing key", "signing keys"],
            Appservice => {
                ["bridge or other application service", "bridges and other application services"]
            }
            Media => ["file", "files"],
            RemoteMedia => ["file of another server", "files of other servers"],
            Quarantine => ["quarantined file", "quarantined files"],
            Thumbnail => ["thumbnail", "thumbnails"],
            UrlPreview => ["picture of a link's preview", "pictures of links' previews"],
        }
    }
}

/// Why something is left out, in words, and whether anybody can miss it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reason {
    /// The words, after *because*.
    pub words: &'static str,
    /// Whether somebody may miss what is left out. Otherwise it was of no use any more, or comes again.
    pub is_missed: bool,
}

impl Skip {
    /// Why it is left out. `None`: a reason of which [`Skip::detail`] alone says more.
    pub fn why(&self) -> Option<Reason> {
        why(self.kind, &self.reason)
    }

    /// Whether somebody may miss it.
    pub fn is_missed(&self) -> bool {
        self.why().is_none_or(|reason| reason.is_missed)
    }
}

fn why(kind: Kind, reason: &str) -> Option<Reason> {
    let found = |(_, _, words, is_missed): &(_, _, &'static str, bool)| Reason {
        words,
        is_missed: *is_missed,
    };
    let fits = |of: Option<Kind>, name: &str| name == reason && of.is_none_or(|of| of == kind);
    REASONS.iter().find(|(of, name, ..)| fits(*of, name)).map(found)
}

/// Of which kind, or of any; the reason; its words; whether what is left out for it can be missed.
type Entry = (Option<Kind>, &'static str, &'static str, bool);

#[rustfmt::skip]
const REASONS: &[Entry] = &[
    // Nobody misses these.
    (None, "made-anew", "Conduit generates them again when they are requested", false),
    (None, "cache", "they are fetched again when they are requested", false),
    (None, "soft-failed", "Synapse did not trust them and showed them to nobody", false),
    (None, "event-rejected", "Synapse rejected them and showed them to nobody", false),
    (None, "event-twice", "Synapse's database has them twice", false),
    (None, "row-twice", "Synapse's database has them twice", false),
    (None, "duplicate", "the dump has them twice", false),
    (None, "also-in-timeline", "they move as a part of their room's timeline", false),
    (None, "receipt-superseded", "there is a newer one", false),
    (None, "one-receipt-per-room", "Conduit keeps only the newest of each person in a room", false),
    (None, "receipt-not-remote", "they move with their accounts", false),
    (None, "receipt-event-missing", "Conduit's unread counts are right without them", false),
    (None, "private-thread-receipt", "Conduit keeps no private receipts of threads", false),
    (None, "receipt-type-unknown", "their type is unknown", false),
    (None, "push-rules-unused", "Synapse does not use them either", false),
    (None, "token-expired", "they had expired", false),
    (None, "login-as-token", "administrators acted as other users with them", false),
    (None, "older-token", "Conduit keeps only the newest of each device", false),
    (None, "not-uploaded", "nothing was ever uploaded", false),
    (None, "file-without-row", "Synapse's database does not list these files", false),
    (None, "user-deactivated", "their account is deactivated", false),
    (None, "backup-deleted", "their owner has deleted them", false),
    (None, "alias-not-local", "they belong to other servers", false),
    (None, "foreign-alias", "they belong to other servers", false),
    (None, "inviter-ignored", "the person ignores whoever sent these invites, and never saw them", false),
    (None, "invite-refused", "these invites were refused", false),
    (None, "forgotten", "the person has forgotten the room", false),
    (None, "not-joined", "the person is not in the room", false),
    (None, "nobody-here", "no local user is in the room", false),
    (None, "server-not-in-room", "the server is no longer in the room", false),
    (None, "key-of-another", "clients refuse them", false),
    (None, "key-unparsable", "clients refuse them", false),
    (None, "key-replaced", "the key that was signed is no longer in use", false),
    (None, "message-of-another", "they are not from this server", false),
    (None, "name-taken-by-conduit", "Conduit needs the name; the account was deactivated", false),
    (None, "count-impossible", "the number is impossible", false),
    (Some(AccountData), "account-without-rights", "Conduit notifies neither deactivated accounts nor guests", false),
    (Some(Pusher), "account-without-rights", "Conduit notifies neither deactivated accounts nor guests", false),
    (Some(RemoteMedia), "not-asked", "they are fetched again from the other servers", false),
    (Some(FallbackKey), "not-in-conduit", "clients upload one-time keys instead", false),
    (None, "in-the-membership", "they move as a part of an invitation", false),
    (None, "state-guessed", "they were computed from other states", false),
    (None, "push-rules-refused", "Conduit can't read them, and its default rules are set", true),
    (None, "push-rule-refused", "Conduit can't read them", true),
    (None, "push-rule-invalid", "they do not have the form of push rules", true),
    (None, "account-data-unparsable", "Conduit can't read them", true),
    (None, "account-data-entry-unreadable", "Conduit can't read them", true),
    (None, "filter-unparsable", "Conduit can't read them; clients make new ones", false),
    (None, "pusher-unparsable", "Conduit can't read them", true),
    (None, "receipts-unparsable", "they can't be read", false),
    (None, "receipt-time-impossible", "their times are impossible", false),
    (None, "receipt-thread-unparsable", "their thread id is invalid", false),
    (None, "keys-invalid", "they can't be read", true),
    (None, "key-name-taken", "another key has the same name", true),
    (None, "version-twice", "the dump has them twice", false),
    (None, "version-not-a-number", "they can't be read", true),
    (None, "duplicate-token", "another registration has the same token", true),
    (None, "duplicate-id", "another registration has the same id", true),
    (None, "message-unparsable", "they can't be read", true),
    (None, "media-id-invalid", "Synapse has no files with such ids", false),
    (None, "json-invalid", "they can't be read", true),
    (None, "value-invalid", "they can't be read", true),
    (None, "id-invalid", "their ids are invalid", true),
    (None, "user-id-invalid", "their ids are invalid", true),
    (None, "room-id-invalid", "their ids are invalid", true),
    (None, "event-unparsable", "they can't be read", true),
    (None, "event-foreign", "they belong to another room", true),
    (None, "event-of-other-room", "they belong to another room", true),
    (None, "event-id-wrong", "their ids are not the hashes of their content", true),
    (None, "event-id-mismatch", "their ids are not the hashes of their content", true),
    (None, "event-unknown", "Synapse's APIs do not provide enough of them", true),
    (None, "redaction-impossible", "their redacted content can't be removed", true),
    (None, "redaction-rules-unknown", "their redacted content can't be removed", true),
    (None, "state-base-missing", "the dump lacks a part of them", true),
    (None, "membership-unknown", "Conduit has no such memberships", true),
    (None, "no-login", "Synapse did not let the importer log in for the account", true),
    (None, "registration-unparsable", "Conduit can't read the registration", true),
    (None, "registration-unprintable", "Conduit can't read the registration", true),
    (None, "registration-regex", "Conduit can't read the registration", true),
    (None, "registration-sender-impossible", "Conduit can't read the registration", true),
    // These may be missed.
    (None, "not-asked", "your options leave them out", true),
    (None, "not-in-conduit", "Conduit can't store them", true),
    (None, "room-version-unsupported", "Conduit does not support their room versions", true),
    (None, "room-version-unknown", "the room version is unknown", true),
    (None, "room-left-out", "their room stays behind", true),
    (None, "create-event-missing", "Synapse has lost the room's create event", true),
    (None, "state-incomplete", "Synapse has lost a part of the room's state", true),
    (None, "state-missing", "Synapse has lost the state that decides who may see them", true),
    (None, "no-state-before", "the state that decides who may see them is missing", true),
    (None, "no-timeline", "Synapse has lost the room's history", true),
    (None, "event-missing", "Synapse does not have them either", false),
    (None, "event-json-missing", "Synapse has lost their content, and shows them to nobody either", false),
    (None, "row-missing", "Synapse has lost a part of them, and shows them to nobody either", false),
    (None, "foreign-user", "they belong to another server's name", true),
    (None, "user-missing", "Synapse has lost the account", true),
    (None, "owner-missing", "their owner is not an account on Synapse", true),
    (None, "account-without-rights", "the account is restricted, and Conduit has no such restrictions", true),
    (None, "token-expires", "they expire, and tokens never expire on Conduit: these devices have to log in again", true),
    (None, "token-without-device", "they belong to no device: programs that use them have to log in again", true),
    (None, "login-elsewhere", "another service handles logins", true),
    (None, "device-missing", "their device does not exist", true),
    (None, "device-left-out", "their device stays behind", true),
    (None, "backup-left-out", "their key backup stays behind", true),
    (None, "appservice-left-out", "their bridge stays behind", true),
    (None, "file-damaged", "the file is damaged in Synapse's media store", true),
    (None, "file-unreadable", "the file can't be read", true),
    (None, "no-regular-file", "something else than a file is at its place in Synapse's media store", true),
    (None, "path-outside-store", "its path leads out of Synapse's media store", true),
    (None, "pushkey-twice", "another app of the same account has the same push key, and the server keeps one", true),
    (None, "file-missing", "the file is missing in Synapse's media store", true),
    (None, "no-directory", "no media directory was named", true),
    (None, "too-many-waiting", "too many were waiting, and only the newest move", true),
    (None, "one-address", "the server keeps one address of each account", true),
    (None, "address-taken", "another account has the same address", true),
    (None, "quarantined", "they are quarantined, and the server can't withhold single files", true),
    (None, "id-taken", "several files of the dump have the same id, and the first one moved", true),
    (None, "pusher-disabled", "they were switched off, and Conduit would switch them on", false),
    (None, "invite-event-missing", "Synapse has lost the invitation: ask for another", true),
    (None, "not-joined-in-state", "the room's state does not have them: join again", true),
    (None, "not-given", "Synapse did not provide them", true),
    (None, "room-unreadable", "Synapse did not provide them", true),
    (None, "user-unreadable", "Synapse did not provide them", true),
    (None, "user-locked", "Synapse does not provide those of a locked account", true),
];

#[cfg(test)]
pub(crate) fn reasons() -> impl Iterator<Item = &'static str> {
    REASONS.iter().map(|(_, _, words, _)| *words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn skip(kind: Kind, reason: &str) -> Skip {
        Skip { kind, item: "x".into(), reason: reason.into(), detail: "y".into(), number: 1 }
    }

    #[test]
    fn what_comes_again_is_not_missed_and_what_nobody_knows_is() {
        assert!(!skip(Thumbnail, "made-anew").is_missed());
        assert!(!skip(RemoteMedia, "not-asked").is_missed());
        assert!(skip(Media, "not-asked").is_missed());
        assert!(skip(Room, "room-version-unsupported").is_missed());
        assert!(skip(Room, "a reason of tomorrow").is_missed());
        assert_eq!(skip(Room, "a reason of tomorrow").why(), None);
    }

    #[test]
    fn words_are_for_people() {
        for (of, reason, words, _) in REASONS {
            assert!(!words.contains(['_', '`']) && !words.ends_with('.'), "{words}");
            let same = |entry: &&Entry| entry.1 == *reason && entry.0 == *of;
            assert_eq!(REASONS.iter().filter(same).count(), 1, "{reason}");
        }
    }
}
