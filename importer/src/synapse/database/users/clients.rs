//! Pushers and filters.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::batch::UserTables;
use crate::{
    dump::format::DumpPusher,
    synapse::database::{DatabaseError, counter::Items, row::row, schema::Schema},
    tally::{Kind, Tally},
};

row! {
    /// A row of `pushers`.
    struct PusherRow {
        app_id: String,
        /// A secret.
        pushkey: String,
        kind: String,
        app_display_name: String,
        device_display_name: String,
        profile_tag: Option<String>,
        lang: Option<String>,
        data: Box<RawValue>,
        enabled: bool,
        device_id: Option<String>,
    }
}

pub(super) async fn pushers(
    tables: &mut UserTables<'_>,
    schema: &Schema,
    tally: &mut Tally,
) -> Result<Vec<DumpPusher>, DatabaseError> {
    let sql = format!(
        "SELECT app_id, pushkey, kind, app_display_name, device_display_name, profile_tag, lang, data, \
         COALESCE({}, TRUE), {}, user_name FROM pushers WHERE user_name IN ($IDS) ORDER BY app_id, pushkey",
        schema.column("pushers", "enabled", "TRUE"),
        // An untyped NULL has no type to read on PostgreSQL.
        schema.column("pushers", "device_id", "CAST(NULL AS TEXT)"),
    );
    let rows = tables.rows("pushers", &sql).await?;
    let mut items = Items::new(tally, Kind::Pusher, tables.id.as_str()).of("pushers");
    // Sorted here: PostgreSQL sorts by the database's collation.
    let mut pushers = BTreeMap::new();
    for row in items.decode::<PusherRow>(&rows) {
        let key = (row.app_id.clone(), row.pushkey.clone());
        let pusher = DumpPusher {
            pushkey: row.pushkey.into(),
            app_id: row.app_id,
            kind: row.kind,
            app_display_name: row.app_display_name,
            device_display_name: row.device_display_name,
            profile_tag: row.profile_tag,
            lang: row.lang.unwrap_or_default(),
            data: row.data,
            enabled: row.enabled,
            device_id: row.device_id,
        };
        items.put(&mut pushers, key, pusher, |(app_id, _)| app_id.clone());
    }
    Ok(pushers.into_values().collect())
}

pub(super) async fn filters(
    tables: &mut UserTables<'_>,
    tally: &mut Tally,
) -> Result<BTreeMap<String, Box<RawValue>>, DatabaseError> {
    let sql = "SELECT filter_id, filter_json, user_id FROM user_filters WHERE user_id IN ($IDS)";
    let rows = tables.rows_of_localpart("user_filters", sql).await?;
    let mut items = Items::new(tally, Kind::Filter, tables.id.as_str()).of("user_filters");
    let mut filters = BTreeMap::new();
    for (id, filter) in items.decode::<(i64, Box<RawValue>)>(&rows) {
        items.put(&mut filters, id.to_string(), filter, Clone::clone);
    }
    Ok(filters)
}
