//! What a check wants to know of a database before it is read.

mod account_data;
mod accounts;
mod database;
mod duplicates;
mod incomplete;
mod media;
mod queries;
mod rooms;
mod signatures;
mod soundness;
mod visibility;

use self::soundness::Pages;
use super::{
    DatabaseError, Facts, census,
    connection::{Connection, Databases},
    rooms::ListedRooms,
    schema::Schema,
    users::ListedUsers,
};
use crate::source::survey::Survey;

/// Looks around; nothing takes as long as a dump. `second` are the connections of the second reader.
pub(super) async fn read(
    databases: &mut Databases,
    second: &mut Option<Databases>,
    facts: &Facts,
) -> Result<Survey, DatabaseError> {
    soundness::tables(databases, &facts.schema).await?;
    let pages = Pages::begin(second);
    let survey = look_around(databases, second.as_mut(), facts).await;
    // Where pages are damaged, a query may have failed, or may not.
    pages.end(databases, second).await?;
    survey
}

async fn look_around(
    databases: &mut Databases,
    second: Option<&mut Databases>,
    facts: &Facts,
) -> Result<Survey, DatabaseError> {
    let Facts { schema, config, extent, senders, .. } = facts;
    let database = database::read(databases, second, config, schema).await?;
    let (users, rooms) = (ListedUsers::default(), ListedRooms::default());
    let who = census::Owners::of(facts, &rooms);
    let counting = census::Counting::of(databases, false).await?;
    let census = census::read(databases, who, &users.left_out, &counting, None).await?;
    let has_own_states = databases.state.is_some();
    let db = &mut databases.main;
    let server_name = &config.server_name;
    let now = i64::try_from(facts.now_ts).unwrap_or(i64::MAX);
    let lasting = extent.keep_expiring_tokens;
    Ok(Survey {
        census: Some(census),
        server_name: server_name.to_string(),
        database: Some(database),
        accounts: accounts::read(db, facts).await?,
        rooms: rooms::read(db, facts).await?,
        admins_alias: rooms::admins(db, server_name).await?,
        blocked_rooms: queries::optional_names(db, schema, "blocked_rooms", "room_id").await?,
        unknown_visibility: visibility::read(db).await?,
        foreign_aliases: rooms::foreign_aliases(db, server_name).await?,
        // Of logins that are elsewhere, none moves.
        expiring_tokens: if config.delegated_auth {
            Vec::new()
        } else {
            accounts::expiring_tokens(db, now, lasting).await?
        },
        tokens_without_device: if config.delegated_auth {
            Vec::new()
        } else {
            accounts::tokens_without_device(db, now).await?
        },
        other_pushers: accounts::other_pushers(db).await?,
        outside_ids: accounts::outside_ids(db).await?,
        emails: accounts::emails(db).await?,
        dehydrated_devices: queries::rows(db, schema, "dehydrated_devices", "TRUE").await?,
        custom_profiles: custom_profiles(db, schema).await?,
        pending_deactivations: queries::optional_names(
            db,
            schema,
            "users_pending_deactivation",
            "user_id",
        )
        .await?,
        delayed_events: queries::rows(db, schema, "delayed_events", "NOT is_processed").await?,
        last_activity_ts: last_activity(db).await?,
        erased_events: Some(if facts.erased.is_empty() { 0 } else { erased_events(db).await? }),
        membership_conflicts: rooms::membership_conflicts(db, senders).await?,
        broken_state: rooms::broken_state(db).await?,
        incomplete_events: incomplete::read(db).await?,
        media: media::read(db, schema, config).await?,
        duplicates: duplicates::read(db, schema, has_own_states).await?,
        odd_account_data: account_data::read(db).await?,
        signatures: signatures::read(db, config).await?,
    })
}

/// Profiles with fields beyond name and avatar.
async fn custom_profiles(db: &mut Connection, schema: &Schema) -> Result<u64, DatabaseError> {
    // `jsonb` on PostgreSQL.
    let fields = schema.column("profiles", "fields", "NULL");
    let sql = format!("SELECT COUNT(*) FROM profiles WHERE CAST({fields} AS TEXT) <> '{{}}'");
    queries::number(db, "profiles", &sql).await
}

/// Events of erased users that the dump will hold in their redacted form, if it holds the full history.
async fn erased_events(db: &mut Connection) -> Result<u64, DatabaseError> {
    let sql = "SELECT COUNT(*) FROM events e JOIN erased_users u ON u.user_id = e.sender WHERE NOT e.outlier \
               AND NOT EXISTS (SELECT 1 FROM current_state_events c WHERE c.event_id = e.event_id)";
    queries::number(db, "events", sql).await
}

/// When Synapse last wrote something that a user did.
async fn last_activity(db: &mut Connection) -> Result<u64, DatabaseError> {
    let mut last = 0;
    for (table, sql) in [
        ("events", "SELECT MAX(received_ts) FROM events"),
        ("devices", "SELECT MAX(last_seen) FROM devices"),
        ("access_tokens", "SELECT MAX(last_validated) FROM access_tokens"),
    ] {
        last = last.max(queries::number(db, table, sql).await?);
    }
    Ok(last)
}

#[cfg(test)]
mod tests;
