//! Account data, tags, push rules.

use std::collections::{BTreeMap, BTreeSet};

use ruma::OwnedRoomId;
use serde_json::{Value, value::RawValue};

use super::batch::UserTables;
use crate::{
    dump::format::DumpAccountData,
    synapse::{
        database::{DatabaseError, counter::Items},
        push_ruleset::{UserRule, UserRules},
    },
    tally::{Kind, Tally},
};

type ContentByRoom = BTreeMap<OwnedRoomId, BTreeMap<String, Box<RawValue>>>;

/// Global and room account data; the tags of a room are one item, its `m.tag`.
///
/// With the experimental feature MSC3391 an empty object is a deleted entry, which Synapse's API does not show;
/// without it, it is a value like any other.
pub(super) async fn read(
    tables: &mut UserTables<'_>,
    experimental_features: &BTreeSet<String>,
    tally: &mut Tally,
) -> Result<DumpAccountData, DatabaseError> {
    let deleted = experimental_features.contains("msc3391_enabled");
    let shown = if deleted { "AND content <> '{}'" } else { "" };

    let sql = format!(
        "SELECT account_data_type, content, user_id FROM account_data WHERE user_id IN ($IDS) {shown}"
    );
    let rows = tables.rows("account_data", &sql).await?;
    let mut items = Items::new(tally, Kind::AccountData, tables.id.as_str()).of("account_data");
    let mut global = BTreeMap::new();
    for (kind, content) in items.decode::<(String, Box<RawValue>)>(&rows) {
        // Servers from before May 2023 let clients write it; Synapse answers with the tables of push rules.
        if kind == "m.push_rules" {
            let detail = "the user's push rules are in tables of their own; nobody sees this row";
            items.skip(&kind, "push-rules-unused", detail);
        } else {
            items.put(&mut global, kind, content, Clone::clone);
        }
    }

    let sql = format!(
        "SELECT account_data_type, room_id, content, user_id FROM room_account_data \
         WHERE user_id IN ($IDS) {shown}"
    );
    let rows = tables.rows("room_account_data", &sql).await?;
    let mut items =
        Items::new(tally, Kind::RoomAccountData, tables.id.as_str()).of("room_account_data");
    let mut rooms = ContentByRoom::new();
    for (kind, room_id, content) in items.decode::<(String, OwnedRoomId, Box<RawValue>)>(&rows) {
        let name = |kind: &String| format!("{kind} in {room_id}");
        items.put(rooms.entry(room_id.clone()).or_default(), kind, content, name);
    }
    tags(tables, &mut rooms, tally).await?;
    Ok(DumpAccountData { global, rooms })
}

async fn tags(
    tables: &mut UserTables<'_>,
    rooms: &mut ContentByRoom,
    tally: &mut Tally,
) -> Result<(), DatabaseError> {
    let sql = "SELECT tag, room_id, content, user_id FROM room_tags WHERE user_id IN ($IDS)";
    let rows = tables.rows("room_tags", sql).await?;
    let mut items =
        Items::new(tally, Kind::RoomAccountData, tables.id.as_str()).parts_of("room_tags");
    let mut by_room: BTreeMap<OwnedRoomId, BTreeMap<String, Box<RawValue>>> = BTreeMap::new();
    for (tag, room_id, content) in items.decode::<(String, OwnedRoomId, Box<RawValue>)>(&rows) {
        let name = |tag: &String| format!("tag {tag} in {room_id}");
        items.put(by_room.entry(room_id.clone()).or_default(), tag, content, name);
    }
    for (room_id, tags) in by_room {
        if let Ok(content) = serde_json::value::to_raw_value(&BTreeMap::from([("tags", tags)])) {
            rooms.entry(room_id).or_default().insert("m.tag".into(), content);
            items.whole();
        }
    }
    Ok(())
}

/// The user's own rules and changes of default rules: together one item of account data.
pub(super) async fn push_rules(
    tables: &mut UserTables<'_>,
    tally: &mut Tally,
) -> Result<UserRules, DatabaseError> {
    let sql = "SELECT rule_id, priority_class, conditions, actions, user_name FROM push_rules \
               WHERE user_name IN ($IDS) ORDER BY priority_class DESC, priority DESC";
    let rows = tables.rows("push_rules", sql).await?;
    let mut items = Items::new(tally, Kind::AccountData, tables.id.as_str()).parts_of("push_rules");
    let mut rules = Vec::new();
    let mut known = BTreeSet::new();
    for (rule_id, class, conditions, actions) in
        items.decode::<(String, i64, Box<RawValue>, Box<RawValue>)>(&rows)
    {
        if !known.insert(rule_id.clone()) {
            items.twice(&rule_id);
            continue;
        }
        let lists = (list(&conditions), list(&actions));
        let rule = match lists {
            (Some(conditions), Some(actions)) => {
                UserRule::new(&rule_id, class, conditions, actions)
            }
            _ => None,
        };
        match rule {
            Some(rule) => rules.push(rule),
            None => items.skip(
                &rule_id,
                "push-rule-invalid",
                "the push rule has not the form of its kind",
            ),
        }
    }
    // All of them are one item, which every user has.
    items.whole();

    let sql = "SELECT rule_id, enabled, user_name FROM push_rules_enable WHERE user_name IN ($IDS)";
    let rows = tables.rows("push_rules_enable", sql).await?;
    let mut items =
        Items::new(tally, Kind::AccountData, tables.id.as_str()).parts_of("push_rules_enable");
    let enabled = items.decode::<(String, bool)>(&rows).into_iter().collect();
    Ok(UserRules { rules, enabled })
}

fn list(json: &RawValue) -> Option<Vec<Value>> {
    serde_json::from_str(json.get()).ok()
}
