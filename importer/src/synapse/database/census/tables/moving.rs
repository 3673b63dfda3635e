//! Tables whose rows move, or are read for what moves.

use super::super::table::{
    Owner,
    OwnerKind::{AnyUser, Localpart, Member, Room, RoomOfOthers, User},
    Part, Table,
};
use crate::{
    dump::census::Fate::{Feeds, Moves},
    tally::Kind,
};

const USER_ID: &[Owner] = &[Owner { column: "user_id", of: User }];
const USER_NAME: &[Owner] = &[Owner { column: "user_name", of: User }];
const LOCALPART: &[Owner] = &[Owner { column: "user_id", of: Localpart }];
const MEMBER: Owner = Owner { column: "user_id", of: Member };
const MEMBERS: &[Owner] = &[Owner { column: "room_id", of: Room }, MEMBER];
const ROOM_ID: &[Owner] = &[Owner { column: "room_id", of: Room }];

const fn moves(name: &'static str, kinds: &'static [Kind], why: &'static str) -> Table {
    Table::new(name, Moves, kinds, why)
}

const fn feeds(name: &'static str, kinds: &'static [Kind], why: &'static str) -> Table {
    Table::new(name, Feeds, kinds, why)
}

const DELETED_BACKUP: &str = "NOT EXISTS (SELECT 1 FROM e2e_room_keys_versions v WHERE v.user_id = t.user_id AND v.version = t.version \
     AND v.deleted = 0)";
const OLDER_KEY: &str = "EXISTS (SELECT 1 FROM e2e_cross_signing_keys n WHERE n.user_id = t.user_id AND n.keytype = t.keytype \
     AND n.stream_id > t.stream_id)";
const PRIVATE_OF_OTHERS: &str =
    "t.receipt_type <> 'm.read' AND substr(t.user_id, length(t.user_id) - length($1) + 1) <> $1";
const NOT_LOCAL: &str = "substr(t.user_id, length(t.user_id) - length($1) + 1) <> $1";

/// The tables.
pub(super) const MOVING: &[Table] = &[
    moves(
        "access_tokens",
        &[Kind::AccessToken],
        "tokens of devices; expired ones and those to act as another user are left out",
    )
    .of(USER_ID),
    moves("account_data", &[Kind::AccountData], "account data that belongs to no room").of(USER_ID),
    moves("blocked_rooms", &[Kind::BlockedRoom], "rooms that administrators have blocked"),
    moves("current_state_events", &[Kind::State], "the present state of each room").of(ROOM_ID),
    feeds(
        "dehydrated_devices",
        &[Kind::Device],
        "marks a device as dehydrated, with its data; it stays in the dump",
    )
    .of(USER_ID),
    moves("device_inbox", &[Kind::ToDeviceMessage], "to-device messages that wait for a device")
        .of(USER_ID),
    moves("devices", &[Kind::Device], "devices with their names").of(USER_ID).but(&[Part::new(
        "hidden",
        "COALESCE(t.hidden, FALSE)",
        "stands for a cross-signing key, which moves by itself",
    )]),
    moves("e2e_cross_signing_keys", &[Kind::CrossSigningKey], "cross-signing keys of local users")
        .of(USER_ID)
        .but(&[
            Part::new(
                "other-server",
                NOT_LOCAL,
                "a key of another server's user, fetched again when needed",
            ),
            Part::new("older", OLDER_KEY, "replaced by a newer key of the same user and type"),
        ]),
    moves(
        "e2e_cross_signing_signatures",
        &[Kind::KeySignature],
        "users' signatures of their own keys, which become part of these, and of others' keys",
    )
    .of(USER_ID),
    moves("e2e_device_keys_json", &[Kind::DeviceKeys], "public keys of devices").of(USER_ID),
    moves("e2e_fallback_keys_json", &[Kind::FallbackKey], "fallback keys; they stay in the dump")
        .of(USER_ID),
    moves("e2e_one_time_keys_json", &[Kind::OneTimeKey], "one-time keys").of(USER_ID),
    moves("e2e_room_keys", &[Kind::KeyBackupSession], "sessions of key backups").of(USER_ID).but(
        &[Part::new("backup-deleted", DELETED_BACKUP, "of a backup that its user has deleted")],
    ),
    moves("e2e_room_keys_versions", &[Kind::KeyBackup], "key backups")
        .of(USER_ID)
        .but(&[Part::new("backup-deleted", "t.deleted <> 0", "its user has deleted the backup")]),
    feeds("erased_users", &[Kind::User], "whose messages move without their content"),
    feeds("event_forward_extremities", &[Kind::Room], "the newest events of rooms").of(ROOM_ID),
    feeds(
        "event_json",
        &[Kind::TimelineEvent, Kind::Outlier],
        "the events themselves, one for each row of `events`, read with it; rows without one are left out (C610)",
    ),
    feeds("event_push_actions", &[Kind::UnreadCount], "what is unread, counted"),
    feeds("event_push_summary", &[Kind::UnreadCount], "what is unread, older events counted"),
    feeds(
        "event_push_summary_stream_ordering",
        &[Kind::UnreadCount],
        "up to which event older ones were counted",
    ),
    feeds("event_to_state_groups", &[Kind::State], "the state at each event"),
    moves(
        "events",
        &[Kind::TimelineEvent, Kind::Outlier],
        "the timelines, and events that only states and auth chains refer to",
    ),
    moves("local_current_membership", &[Kind::Membership], "who is in which room, invited, banned")
        .of(MEMBERS),
    moves("local_media_repository", &[Kind::Media], "uploaded files").but(&[Part::new(
        "preview",
        "t.url_cache IS NOT NULL",
        "an image of a link's preview, which Synapse itself forgets after a while",
    )]),
    moves("profiles", &[Kind::ProfileField], "display names, avatars, custom fields").of(LOCALPART),
    moves("push_rules", &[Kind::AccountData], "users' push rules").of(USER_NAME),
    moves("push_rules_enable", &[Kind::AccountData], "which push rules are on").of(USER_NAME),
    moves("pushers", &[Kind::Pusher], "pushers").of(USER_NAME),
    moves("receipts_linearized", &[Kind::Receipt], "read receipts")
        .of(&[
            Owner { column: "user_id", of: AnyUser },
            Owner { column: "room_id", of: RoomOfOthers },
        ])
        .but(&[Part::new(
            "not-public",
            PRIVATE_OF_OTHERS,
            "a receipt of another server's user that is not public",
        )]),
    feeds("redactions", &[Kind::TimelineEvent], "which events were redacted"),
    feeds("rejections", &[Kind::TimelineEvent], "which events Synapse rejected; they stay behind"),
    moves(
        "remote_media_cache",
        &[Kind::RemoteMedia],
        "files of other servers, if `--remote-media` is given",
    ),
    moves("room_account_data", &[Kind::RoomAccountData], "account data of rooms").of(USER_ID),
    moves("room_aliases", &[Kind::Alias], "aliases of rooms").of(ROOM_ID),
    feeds("room_ban_redactions", &[Kind::TimelineEvent], "bans that redact what was said before"),
    feeds(
        "room_memberships",
        &[Kind::Membership],
        "which rooms users have forgotten, and memberships that `local_current_membership` lacks; the rest is in the events",
    )
    .of(&[MEMBER]),
    moves("room_tags", &[Kind::RoomAccountData], "tags of rooms").of(USER_ID),
    feeds(
        "rooms",
        &[Kind::Room, Kind::PublishedRoom],
        "versions of rooms, and the public directory",
    )
    .of(ROOM_ID),
    feeds("schema_version", &[], "which Synapse this is"),
    feeds("state_events", &[Kind::State], "which state an event replaced"),
    feeds("state_group_edges", &[Kind::State], "states as differences to others"),
    feeds("state_groups_state", &[Kind::State], "states"),
    moves("user_external_ids", &[Kind::ExternalId], "single sign-on ids; they stay in the dump")
        .of(USER_ID),
    moves("user_filters", &[Kind::Filter], "sync filters").of(LOCALPART),
    moves(
        "user_threepids",
        &[Kind::ThirdPartyId],
        "e-mail addresses and telephone numbers; they stay in the dump",
    )
    .of(USER_ID),
    moves("users", &[Kind::User, Kind::PasswordHash], "accounts"),
    feeds(
        "users_pending_deactivation",
        &[Kind::User],
        "accounts whose deactivation has not finished: `check` names them",
    ),
    moves(
        "device_federation_outbox",
        &[Kind::QueuedMessage],
        "to-device messages that wait for another server",
    ),
    feeds("application_services_txns", &[Kind::QueuedEvent], "what waits for a bridge"),
    feeds(
        "destination_rooms",
        &[Kind::QueuedEvent],
        "rooms in which another server lacks the newest event",
    ),
    feeds("destinations", &[Kind::QueuedEvent], "what other servers have received"),
    feeds(
        "device_lists_outbound_pokes",
        &[Kind::QueuedDeviceList],
        "changed device lists of which other servers do not know yet",
    ),
];
