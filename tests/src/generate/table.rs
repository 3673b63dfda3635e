//! Rows, as both engines take them.

/// A table and the columns that are filled; the others have their defaults.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) name: &'static str,
    pub(super) columns: &'static [&'static str],
}

/// A value of a column.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Text(&'a str),
    Bytes(&'a [u8]),
}

impl From<bool> for Value<'_> {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Value<'_> {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(value: &'a str) -> Self {
        Self::Text(value)
    }
}

impl<'a> From<&'a String> for Value<'a> {
    fn from(value: &'a String) -> Self {
        Self::Text(value)
    }
}

impl<'a> From<Option<&'a str>> for Value<'a> {
    fn from(value: Option<&'a str>) -> Self {
        value.map_or(Self::Null, Self::Text)
    }
}

impl<'a> From<&'a [u8]> for Value<'a> {
    fn from(value: &'a [u8]) -> Self {
        Self::Bytes(value)
    }
}

/// Where rows go.
pub(super) trait Sink: Send {
    /// Adds a row.
    fn row(&mut self, table: &'static Table, values: &[Value<'_>]) -> anyhow::Result<()>;

    /// Adds what a message says to the index of full texts.
    fn words(&mut self, words: &Searchable<'_>) -> anyhow::Result<()>;

    /// Runs a statement.
    fn run(&mut self, sql: &str) -> anyhow::Result<()>;

    /// Makes all of it lasting.
    fn finish(self: Box<Self>) -> anyhow::Result<()>;
}

/// A row of the index of full texts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Searchable<'a> {
    pub(super) event_id: &'a str,
    pub(super) room_id: &'a str,
    pub(super) key: &'a str,
    pub(super) value: &'a str,
    pub(super) origin_server_ts: i64,
    pub(super) stream: i64,
}

macro_rules! tables {
    ($($constant:ident = $name:literal: $($column:literal)*;)*) => {
        $(pub(super) static $constant: Table = Table { name: $name, columns: &[$($column),*] };)*
    };
}

tables! {
    ACCESS_TOKENS = "access_tokens": "id" "user_id" "device_id" "token" "last_validated" "used";
    ACCOUNT_DATA = "account_data": "user_id" "account_data_type" "stream_id" "content" "instance_name";
    CURRENT_STATE = "current_state_events": "event_id" "room_id" "type" "state_key" "membership" "event_stream_ordering";
    DELTAS = "current_state_delta_stream": "stream_id" "room_id" "type" "state_key" "event_id" "prev_event_id" "instance_name";
    DEVICES = "devices": "user_id" "device_id" "display_name" "last_seen" "ip" "user_agent" "hidden";
    DEVICE_KEYS = "e2e_device_keys_json": "user_id" "device_id" "ts_added_ms" "key_json";
    DEVICE_LISTS = "device_lists_stream": "stream_id" "user_id" "device_id" "instance_name";
    ONE_TIME_KEYS = "e2e_one_time_keys_json": "user_id" "device_id" "algorithm" "key_id" "ts_added_ms" "key_json";
    EVENTS = "events": "stream_ordering" "topological_ordering" "event_id" "type" "room_id" "processed" "outlier" "depth" "origin_server_ts" "received_ts" "sender" "contains_url" "instance_name" "state_key";
    EVENT_AUTH = "event_auth": "event_id" "auth_id" "room_id";
    EVENT_EDGES = "event_edges": "event_id" "prev_event_id" "is_state";
    EVENT_JSON = "event_json": "event_id" "room_id" "internal_metadata" "json" "format_version";
    EVENT_GROUPS = "event_to_state_groups": "event_id" "state_group";
    EXTREMITIES = "event_forward_extremities": "event_id" "room_id";
    FILTERS = "user_filters": "user_id" "filter_id" "filter_json" "full_user_id";
    LOCAL_MEMBERSHIP = "local_current_membership": "room_id" "user_id" "event_id" "membership" "event_stream_ordering";
    MEDIA = "local_media_repository": "media_id" "media_type" "media_length" "created_ts" "upload_name" "user_id" "last_access_ts" "authenticated" "sha256";
    MEMBERSHIPS = "room_memberships": "event_id" "user_id" "sender" "room_id" "membership" "display_name" "avatar_url" "event_stream_ordering" "participant";
    PROFILES = "profiles": "user_id" "displayname" "avatar_url" "full_user_id";
    PUSH_SUMMARY = "event_push_summary": "user_id" "room_id" "notif_count" "stream_ordering" "unread_count" "last_receipt_stream_ordering" "thread_id";
    RECEIPTS = "receipts_linearized": "stream_id" "room_id" "receipt_type" "user_id" "event_id" "event_stream_ordering" "data" "instance_name";
    REDACTIONS = "redactions": "event_id" "redacts" "have_censored" "received_ts" "recheck";
    RELATIONS = "event_relations": "event_id" "relates_to_id" "relation_type" "aggregation_key";
    ROOMS = "rooms": "room_id" "is_public" "creator" "room_version" "has_auth_chain_index";
    ROOM_ACCOUNT_DATA = "room_account_data": "user_id" "room_id" "account_data_type" "stream_id" "content" "instance_name";
    ROOM_ALIASES = "room_aliases": "room_alias" "room_id" "creator";
    ROOM_ALIAS_SERVERS = "room_alias_servers": "room_alias" "server";
    ROOM_DEPTH = "room_depth": "room_id" "min_depth";
    ROOM_STATS = "room_stats_current": "room_id" "current_state_events" "joined_members" "invited_members" "left_members" "banned_members" "local_users_in_room" "completed_delta_stream_id" "knocked_members";
    ROOM_STATS_STATE = "room_stats_state": "room_id" "name" "canonical_alias" "join_rules" "history_visibility" "encryption" "is_federatable" "topic";
    STATE_EVENTS = "state_events": "event_id" "room_id" "type" "state_key";
    STATE_GROUPS = "state_groups": "id" "room_id" "event_id";
    STATE_GROUPS_STATE = "state_groups_state": "state_group" "room_id" "type" "state_key" "event_id";
    STATE_GROUP_EDGES = "state_group_edges": "state_group" "prev_state_group";
    STREAM_POSITIONS = "stream_positions": "stream_name" "instance_name" "stream_id";
    TAGS = "room_tags": "user_id" "room_id" "tag" "content";
    THREADS = "threads": "room_id" "thread_id" "latest_event_id" "topological_ordering" "stream_ordering";
    USERS = "users": "name" "password_hash" "creation_ts" "admin" "is_guest" "deactivated" "shadow_banned" "approved" "locked" "suspended";
}
