//! Tables whose rows stay behind.

use super::super::table::Table;
use crate::{
    dump::census::Fate,
    tally::Kind::{
        self, PublishedRoom, Receipt, Room, State, Thumbnail, TimelineEvent, UrlPreview,
    },
};

/// Means something to somebody, and Conduit has no place for it.
const fn no_place(name: &'static str, why: &'static str) -> Table {
    Table::new(name, Fate::NoPlace, &[], why)
}

/// Is made anew from what moves.
const fn derived(name: &'static str, kinds: &'static [Kind], why: &'static str) -> Table {
    Table::new(name, Fate::Derived, kinds, why)
}

/// Comes again, or soon ends.
const fn cache(name: &'static str, why: &'static str) -> Table {
    Table::new(name, Fate::Cache, &[], why)
}

/// Is about Synapse's own work.
const fn own(name: &'static str, why: &'static str) -> Table {
    Table::new(name, Fate::Bookkeeping, &[], why)
}

const STREAM: &str = "a position in one of Synapse's streams";
const CHANGES: &str = "changes that Synapse's processes announce to each other; the current values are in other tables";
const STATISTICS: &str = "statistics of rooms and users";
const SLIDING: &str = "the state of simplified sliding sync; clients start it anew";
const GROUPS: &str = "communities, which Matrix no longer has";
const LOCKS: &str = "locks of running processes";
const CHAINS: &str = "an index of auth chains";

/// The tables.
pub(super) const STAYING: &[Table] = &[
    no_place("account_validity", "when accounts expire: Conduit's never do"),
    own("application_services_state", "how far Synapse has sent events to bridges"),
    own("applied_module_schemas", "which tables modules have made"),
    own("applied_schema_deltas", "how the schema was upgraded"),
    no_place(
        "appservice_room_list",
        "rooms that bridges show in their public directories: the bridge can set them again",
    ),
    own("appservice_stream_position", STREAM),
    own(
        "background_updates",
        "changes of tables that have not finished: `check` names those that matter",
    ),
    own("cache_invalidation_stream_by_instance", CHANGES),
    own("current_state_delta_stream", CHANGES),
    no_place("delayed_events", "events to be sent later: let them be sent, or cancel them"),
    own("delayed_events_stream_pos", STREAM),
    own("deleted_pushers", CHANGES),
    own(
        "destination_rooms_sticky_events_backlog",
        "sticky events that another server has yet to get",
    ),
    no_place("device_auth_providers", "which single sign-on session made a device"),
    own(
        "device_federation_inbox",
        "ids of messages from other servers, so that none is taken twice",
    ),
    own("device_lists_changes_converted_stream_position", STREAM),
    own("device_lists_changes_in_room", CHANGES),
    own("device_lists_changes_in_room_max_pruned_stream_id", STREAM),
    own(
        "device_lists_outbound_last_success",
        "which changes of device lists other servers have received; those that they lack are in `device_lists_outbound_pokes`",
    ),
    cache(
        "device_lists_remote_cache",
        "devices of other servers' users: fetched again when somebody asks",
    ),
    cache(
        "device_lists_remote_extremeties",
        "how new the cached devices of other servers' users are",
    ),
    cache("device_lists_remote_pending", "devices of other servers' users that have to be fetched"),
    cache("device_lists_remote_resync", "devices of other servers' users that have to be fetched"),
    own("device_lists_stream", CHANGES),
    derived("event_auth", &[TimelineEvent], "auth events; they are in the events"),
    derived("event_auth_chain_links", &[TimelineEvent], CHAINS),
    derived("event_auth_chain_to_calculate", &[TimelineEvent], CHAINS),
    derived("event_auth_chains", &[TimelineEvent], CHAINS),
    derived(
        "event_backward_extremities",
        &[TimelineEvent],
        "where a room's known history ends; it follows from the events",
    ),
    derived("event_edges", &[TimelineEvent], "previous events; they are in the events"),
    no_place(
        "event_expiry",
        "when events with an expiry are to be removed: Conduit does not remove them",
    ),
    own("event_failed_pull_attempts", "events that could not be fetched"),
    derived("event_labels", &[TimelineEvent], "labels; they are in the events"),
    own("event_push_actions_staging", "what is unread, while an event is being received"),
    own("event_push_summary_last_receipt_stream_id", STREAM),
    derived("event_reference_hashes", &[TimelineEvent], "hashes of events; they are their ids"),
    derived("event_relations", &[TimelineEvent], "relations; they are in the events"),
    no_place("event_reports", "reports of events to the administrators: Conduit keeps none"),
    derived(
        "event_search",
        &[TimelineEvent],
        "the search index, with the tables that SQLite keeps behind it (`event_search_*`)",
    ),
    cache("event_txn_id", "which client's transaction sent an event, so that none is sent twice"),
    cache(
        "event_txn_id_device_id",
        "which client's transaction sent an event, so that none is sent twice",
    ),
    own("ex_outlier_stream", CHANGES),
    own(
        "federation_inbound_events_staging",
        "events from other servers that are being received; they are sent again or requested",
    ),
    own("federation_stream_position", STREAM),
    no_place("group_attestations_remote", GROUPS),
    no_place("group_attestations_renewals", GROUPS),
    no_place("group_invites", GROUPS),
    no_place("group_roles", GROUPS),
    no_place("group_room_categories", GROUPS),
    no_place("group_rooms", GROUPS),
    no_place("group_summary_roles", GROUPS),
    no_place("group_summary_room_categories", GROUPS),
    no_place("group_summary_rooms", GROUPS),
    no_place("group_summary_users", GROUPS),
    no_place("group_users", GROUPS),
    no_place("groups", GROUPS),
    derived("ignored_users", &[Kind::AccountData], "who ignores whom; it is in the account data"),
    own("instance_map", "the numbers of Synapse's processes, on PostgreSQL only"),
    derived(
        "insertion_event_edges",
        &[TimelineEvent],
        "an experiment with imported history that Synapse has ended",
    ),
    derived(
        "insertion_event_extremities",
        &[TimelineEvent],
        "an experiment with imported history that Synapse has ended",
    ),
    derived(
        "insertion_events",
        &[TimelineEvent],
        "an experiment with imported history that Synapse has ended",
    ),
    derived(
        "batch_events",
        &[TimelineEvent],
        "an experiment with imported history that Synapse has ended",
    ),
    no_place("local_group_membership", GROUPS),
    no_place("local_group_updates", GROUPS),
    derived("local_media_repository_thumbnails", &[Thumbnail], "made when somebody asks for one"),
    Table::new(
        "local_media_repository_url_cache",
        Fate::Cache,
        &[UrlPreview],
        "previews of links: fetched again",
    ),
    cache("login_tokens", "tokens of single sign-on that last for minutes"),
    own("monthly_active_users", "who counts for a limit of active users"),
    derived(
        "msc4242_state_dag_edges",
        &[State],
        "an experiment of Synapse's; it follows from the events",
    ),
    derived(
        "msc4242_state_dag_forward_extremities",
        &[State],
        "an experiment of Synapse's; it follows from the events",
    ),
    cache("open_id_tokens", "tokens for widgets and integrations that last for an hour"),
    own("partial_state_events", "events whose state is being fetched"),
    own("partial_state_rooms", "rooms whose state is being fetched: `check` names them"),
    own("partial_state_rooms_servers", "servers of rooms whose state is being fetched"),
    no_place("per_user_experimental_features", "experiments that are on for single users"),
    own(
        "port_from_sqlite3",
        "how far `synapse_port_db` got when it copied the database from SQLite",
    ),
    cache("presence", "who is online: clients send it again"),
    cache("presence_stream", "who is online: clients send it again"),
    own("profile_updates", CHANGES),
    own("profile_updates_per_user", CHANGES),
    own("push_rules_stream", CHANGES),
    own("pusher_throttle", "when e-mails were last sent"),
    own("quarantined_media_changes", CHANGES),
    no_place("ratelimit_override", "limits of single users: Conduit has none for users"),
    derived("receipts_graph", &[Receipt], "receipts once more"),
    cache("received_transactions", "transactions of other servers, so that none is taken twice"),
    no_place(
        "refresh_tokens",
        "tokens to refresh access tokens: Conduit has none, so their devices have to log in again",
    ),
    no_place(
        "registration_tokens",
        "invitations to register: Conduit has one token, in its configuration",
    ),
    derived("remote_media_cache_thumbnails", &[Thumbnail], "made when somebody asks for one"),
    cache("remote_profile_cache", "profiles of other servers' users: fetched again"),
    own("room_alias_servers", "servers that know a room's alias; it is this one"),
    derived("room_depth", &[Room], "depths of events; they are in the events"),
    own("room_forgetter_stream_pos", STREAM),
    no_place("room_reports", "reports of rooms to the administrators: Conduit keeps none"),
    derived(
        "room_retention",
        &[Room],
        "how long messages are kept; it is in the rooms' states, and Conduit ignores it",
    ),
    derived("room_stats_current", &[Room], STATISTICS),
    derived("room_stats_earliest_token", &[Room], STATISTICS),
    derived("room_stats_state", &[Room, PublishedRoom], STATISTICS),
    own("room_tags_revisions", CHANGES),
    own("scheduled_tasks", "Synapse's own jobs, such as the deletion of a room"),
    own("schema_compat_version", "which versions of Synapse can use the database"),
    cache("server_keys_json", "keys of other servers: fetched again"),
    cache("server_signature_keys", "keys of other servers: fetched again"),
    cache("sessions", "registrations and the like that are under way"),
    derived("sliding_sync_connection_lazy_members", &[], SLIDING),
    derived("sliding_sync_connection_positions", &[], SLIDING),
    derived("sliding_sync_connection_required_state", &[], SLIDING),
    derived("sliding_sync_connection_room_configs", &[], SLIDING),
    derived("sliding_sync_connection_streams", &[], SLIDING),
    derived("sliding_sync_connections", &[], SLIDING),
    derived("sliding_sync_joined_rooms", &[], SLIDING),
    derived("sliding_sync_joined_rooms_to_recalculate", &[], SLIDING),
    derived("sliding_sync_membership_snapshots", &[], SLIDING),
    own("sqlite_*", "SQLite's own tables"),
    derived("state_groups", &[State], "the ids of state groups"),
    own("state_groups_pending_deletion", "states that nothing needs any more"),
    own("state_groups_persisting", "states that are being written"),
    own("stats_incremental_position", STREAM),
    derived(
        "sticky_events",
        &[TimelineEvent],
        "events that new members see first; they are in the timelines",
    ),
    own("stream_ordering_to_exterm", "the newest events of rooms at times past"),
    own("stream_positions", STREAM),
    no_place("thread_subscriptions", "threads that users follow: Conduit has no such feature"),
    derived("threads", &[TimelineEvent], "lists of threads; they follow from the events"),
    no_place("threepid_guest_access_tokens", "guests who were invited by e-mail"),
    cache("threepid_validation_session", "e-mail addresses that are being confirmed"),
    cache("threepid_validation_token", "e-mail addresses that are being confirmed"),
    derived(
        "timeline_gaps",
        &[TimelineEvent],
        "where a timeline has gaps; it follows from the events",
    ),
    cache("ui_auth_sessions", "requests that wait for a password"),
    cache("ui_auth_sessions_credentials", "requests that wait for a password"),
    cache("ui_auth_sessions_ips", "requests that wait for a password"),
    own("un_partial_stated_event_stream", CHANGES),
    own("un_partial_stated_room_stream", CHANGES),
    own("user_daily_visits", STATISTICS),
    derived("user_directory", &[Kind::User], "the directory of users"),
    derived(
        "user_directory_search",
        &[Kind::User],
        "the directory of users, with the tables that SQLite keeps behind its index (`user_directory_search_*`)",
    ),
    cache(
        "user_directory_stale_remote_users",
        "profiles of other servers' users that have to be fetched",
    ),
    own("user_directory_stream_pos", STREAM),
    own("user_ips", "from which addresses users came; the last one of each device moves"),
    no_place("user_reports", "reports of users to the administrators: Conduit keeps none"),
    own("user_signature_stream", CHANGES),
    derived("user_stats_current", &[Kind::User], STATISTICS),
    no_place("user_threepid_id_server", "which identity server an e-mail address was bound at"),
    derived("users_in_public_rooms", &[Kind::User], "the directory of users"),
    derived("users_who_share_private_rooms", &[Kind::User], "the directory of users"),
    own("users_to_send_full_presence_to", "users to whom everybody's presence is still to be sent"),
    own("worker_locks", LOCKS),
    own("worker_read_write_locks", LOCKS),
    own("worker_read_write_locks_mode", LOCKS),
];
