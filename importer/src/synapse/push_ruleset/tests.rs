use std::collections::BTreeSet;

use ruma::{push::Ruleset, user_id};
use serde_json::{Value, json};

use super::{UserRule, UserRules, tree};

fn alice(user: &UserRules, features: &[&str]) -> Value {
    let features: BTreeSet<String> = features.iter().map(|&feature| feature.to_owned()).collect();
    let tree = tree(user_id!("@alice:own.test"), user, &features).unwrap();
    serde_json::from_str(tree.get()).unwrap()
}

fn rule(id: &str, class: i64, conditions: Value, actions: Value) -> UserRule {
    let list = |value: Value| value.as_array().unwrap().clone();
    UserRule::new(id, class, list(conditions), list(actions)).unwrap()
}

fn ids(tree: &Value, kind: &str) -> Vec<String> {
    let rules = tree["global"][kind].as_array().unwrap();
    rules.iter().map(|rule| rule["rule_id"].as_str().unwrap().to_owned()).collect()
}

const OVERRIDE: [&str; 12] = [
    ".m.rule.master",
    ".m.rule.suppress_notices",
    ".m.rule.invite_for_me",
    ".m.rule.member_event",
    ".m.rule.is_user_mention",
    ".m.rule.contains_display_name",
    ".m.rule.is_room_mention",
    ".m.rule.roomnotif",
    ".m.rule.tombstone",
    ".m.rule.reaction",
    ".m.rule.room.server_acl",
    ".m.rule.suppress_edits",
];
const UNDERRIDE: [&str; 6] = [
    ".m.rule.call",
    ".m.rule.encrypted_room_one_to_one",
    ".m.rule.room_one_to_one",
    ".m.rule.message",
    ".m.rule.encrypted",
    ".im.vector.jitsi",
];

#[test]
fn a_user_without_rules_has_the_default_ones() {
    let tree = alice(&UserRules::default(), &[]);
    let kinds: Vec<_> = tree["global"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(kinds, ["content", "override", "postcontent", "room", "sender", "underride"]);
    assert_eq!(ids(&tree, "override"), OVERRIDE);
    assert_eq!(ids(&tree, "underride"), UNDERRIDE);
    for kind in ["postcontent", "room", "sender"] {
        assert_eq!(tree["global"][kind], json!([]));
    }
    assert_eq!(
        tree["global"]["content"],
        json!([{
            "actions": ["notify", {"set_tweak": "highlight"}, {"set_tweak": "sound", "value": "default"}],
            "rule_id": ".m.rule.contains_user_name", "default": true, "pattern": "alice", "enabled": true,
        }])
    );
    assert_eq!(
        tree["global"]["override"][2],
        json!({
            "conditions": [
                {"kind": "event_match", "key": "type", "pattern": "m.room.member"},
                {"kind": "event_match", "key": "content.membership", "pattern": "invite"},
                {"kind": "event_match", "key": "state_key", "pattern": "@alice:own.test"},
            ],
            "actions": ["notify", {"set_tweak": "highlight", "value": false}, {"set_tweak": "sound", "value": "default"}],
            "rule_id": ".m.rule.invite_for_me", "default": true, "enabled": true,
        })
    );
    assert_eq!(
        tree["global"]["override"][4]["conditions"],
        json!([{"kind": "event_property_contains", "key": "content.m\\.mentions.user_ids", "value": "@alice:own.test"}])
    );
    assert_eq!(tree["global"]["override"][0]["enabled"], json!(false));
    serde_json::from_value::<Ruleset>(tree["global"].clone()).unwrap();
}

#[test]
fn own_rules_stand_between_master_and_the_other_default_rules() {
    let user = UserRules {
        rules: vec![
            rule(
                "global/override/mine",
                5,
                json!([{"kind": "event_match", "key": "type", "pattern": "m.x"}]),
                json!(["notify"]),
            ),
            rule(
                "global/content/tea",
                4,
                json!([{"kind": "event_match", "key": "content.body", "pattern": "tea*"}]),
                json!(["dont_notify"]),
            ),
            rule(
                "global/room/!r:own.test",
                3,
                json!([{"kind": "event_match", "key": "room_id", "pattern": "!r:own.test"}]),
                json!([]),
            ),
            rule(
                "global/sender/@bob:own.test",
                2,
                json!([{"kind": "event_match", "key": "user_id", "pattern": "@bob:own.test"}]),
                json!([]),
            ),
            rule("global/underride/mine", 1, json!([]), json!([])),
            rule(
                "global/underride/.m.rule.message",
                -1,
                json!([]),
                json!(["notify", {"set_tweak": "sound", "value": "zap"}]),
            ),
        ],
        enabled: [
            ("global/content/tea", false),
            ("global/override/.m.rule.master", true),
            ("global/underride/.m.rule.call", false),
        ]
        .map(|(id, enabled)| (id.to_owned(), enabled))
        .into(),
    };
    let tree = alice(&user, &[]);
    assert_eq!(ids(&tree, "override")[..3], [".m.rule.master", "mine", ".m.rule.suppress_notices"]);
    assert_eq!(ids(&tree, "underride"), [&["mine"], UNDERRIDE.as_slice()].concat());
    assert_eq!(tree["global"]["override"][0]["enabled"], json!(true));
    assert_eq!(
        tree["global"]["override"][1],
        json!({
            "conditions": [{"kind": "event_match", "key": "type", "pattern": "m.x"}], "actions": ["notify"],
            "rule_id": "mine", "default": false, "enabled": true,
        })
    );
    assert_eq!(
        tree["global"]["content"][0],
        json!({"actions": ["dont_notify"], "rule_id": "tea", "default": false, "pattern": "tea*", "enabled": false})
    );
    assert_eq!(
        tree["global"]["room"],
        json!([{"actions": [], "rule_id": "!r:own.test", "default": false, "enabled": true}])
    );
    assert_eq!(
        tree["global"]["sender"],
        json!([{"actions": [], "rule_id": "@bob:own.test", "default": false, "enabled": true}])
    );
    let (call, message) = (&tree["global"]["underride"][1], &tree["global"]["underride"][4]);
    assert_eq!(call["enabled"], json!(false));
    assert_eq!(
        message,
        &json!({
            "conditions": [{"kind": "event_match", "key": "type", "pattern": "m.room.message"}],
            "actions": ["notify", {"set_tweak": "sound", "value": "zap"}],
            "rule_id": ".m.rule.message", "default": true, "enabled": true,
        })
    );
}

#[test]
fn experimental_features_bring_and_take_default_rules() {
    let tree = alice(
        &UserRules::default(),
        &["msc3381_polls_enabled", "msc4210_enabled", "msc4306_enabled"],
    );
    assert_eq!(ids(&tree, "content"), [""; 0]);
    assert_eq!(ids(&tree, "postcontent").len(), 2);
    assert_eq!(ids(&tree, "underride")[6], ".org.matrix.msc3930.rule.poll_start_one_to_one");
    assert!(!ids(&tree, "override").contains(&".m.rule.roomnotif".to_owned()));
}

#[test]
fn rules_without_the_form_of_their_kind_are_refused() {
    let refused = |class, conditions: Value| {
        UserRule::new("global/x/y", class, conditions.as_array().unwrap().clone(), vec![]).is_none()
    };
    assert!(refused(0, json!([])));
    assert!(refused(6, json!([])));
    assert!(refused(4, json!([])));
    assert!(refused(4, json!([{"pattern": "a"}, {"pattern": "b"}])));
    assert!(refused(4, json!([{"key": "content.body"}])));
    assert!(refused(3, json!([])));
    assert!(refused(2, json!([{"key": "user_id"}])));
    assert!(!refused(5, json!([])));
}
