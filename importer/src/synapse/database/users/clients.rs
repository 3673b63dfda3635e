//! Pushers and filters.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::batch::OneUser;
use crate::{
    dump::format::DumpPusher,
    synapse::database::{DatabaseError, counter::Items, schema::Schema},
    tally::{Kind, Tally},
};

pub(super) async fn pushers(
    one: &mut OneUser<'_>,
    schema: &Schema,
    tally: &mut Tally,
) -> Result<Vec<DumpPusher>, DatabaseError> {
    type Pusher = (
        String,
        String,
        String,
        String,
        String,
        Option<String>,
        Option<String>,
        Box<RawValue>,
        bool,
        Option<String>,
    );
    let sql = format!(
        "SELECT app_id, pushkey, kind, app_display_name, device_display_name, profile_tag, lang, data, \
         COALESCE({}, TRUE), {}, user_name FROM pushers WHERE user_name IN ($IDS) ORDER BY app_id, pushkey",
        schema.column("pushers", "enabled", "TRUE"),
        // An untyped NULL has no type to read on PostgreSQL.
        schema.column("pushers", "device_id", "CAST(NULL AS TEXT)"),
    );
    let rows = one.rows("pushers", &sql).await?;
    let mut items = Items::new(tally, Kind::Pusher, one.id.as_str()).of("pushers");
    let pushers: Vec<_> = items
        .decode::<Pusher>(&rows)
        .into_iter()
        .map(
            |(
                app_id,
                pushkey,
                kind,
                app_display_name,
                device_display_name,
                profile_tag,
                lang,
                data,
                enabled,
                device_id,
            )| {
                // Sorted here: PostgreSQL sorts by the database's collation.
                let order = (app_id.clone(), pushkey.clone());
                (
                    order,
                    DumpPusher {
                        pushkey: pushkey.into(),
                        app_id,
                        kind,
                        app_display_name,
                        device_display_name,
                        profile_tag,
                        lang: lang.unwrap_or_default(),
                        data,
                        enabled,
                        device_id,
                    },
                )
            },
        )
        .collect();
    let mut unique = BTreeMap::new();
    for (key, pusher) in pushers {
        items.put(&mut unique, key, pusher, |(app_id, _)| app_id.clone());
    }
    Ok(unique.into_values().collect())
}

pub(super) async fn filters(
    one: &mut OneUser<'_>,
    tally: &mut Tally,
) -> Result<BTreeMap<String, Box<RawValue>>, DatabaseError> {
    let sql = "SELECT filter_id, filter_json, user_id FROM user_filters WHERE user_id IN ($IDS)";
    let rows = one.rows_of_localpart("user_filters", sql).await?;
    let mut items = Items::new(tally, Kind::Filter, one.id.as_str()).of("user_filters");
    let mut filters = BTreeMap::new();
    for (id, filter) in items.decode::<(i64, Box<RawValue>)>(&rows) {
        items.put(&mut filters, id.to_string(), filter, Clone::clone);
    }
    Ok(filters)
}
