//! Push rules: from rows of Synapse's database to the whole ruleset that clients see. `import/users/push_rule_filter.rs` later
//! leaves out the rules that Conduit can't parse.
//!
//! Synapse stores only what a user changed: own rules, switches, and other actions for default rules. The default rules
//! themselves (`push_ruleset/defaults.json`) are those that Synapse 1.163 answers with, in their order; rules that belong to
//! an experimental feature appear if it is on. Those of MSC1767 (extensible events), which no room version uses, are
//! left out.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use ruma::UserId;
use serde::{Deserialize, Serialize};
use serde_json::{
    Map, Value, json,
    value::{RawValue, to_raw_value},
};

const DEFAULTS: &str = include_str!("push_ruleset/defaults.json");

/// The default rules, with their whole ids.
static DEFAULT_RULES: LazyLock<Vec<(String, DefaultRule)>> = LazyLock::new(|| {
    let rules: Vec<DefaultRule> = serde_json::from_str(DEFAULTS).unwrap_or_default();
    rules.into_iter().map(|rule| (rule.id(), rule)).collect()
});

/// What a user has in Synapse's database.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UserRules {
    /// Own rules and changed default rules, in the order of evaluation.
    pub rules: Vec<UserRule>,
    /// Rules that have been switched on or off, by their whole id (`global/KIND/ID`).
    pub enabled: BTreeMap<String, bool>,
}

/// A row of `push_rules` that has the form of its kind.
#[derive(Clone, Debug, PartialEq)]
pub struct UserRule {
    /// The whole id: `global/KIND/ID`.
    id: String,
    /// `None`: other actions for a default rule.
    rule: Option<(Kind, Map<String, Value>)>,
    actions: Vec<Value>,
}

/// The kinds of rules, in the order in which Synapse lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Underride,
    Sender,
    Room,
    /// MSC4306; empty unless the feature is on.
    Postcontent,
    Content,
    Override,
}

const KINDS: [Kind; 6] =
    [Kind::Underride, Kind::Sender, Kind::Room, Kind::Postcontent, Kind::Content, Kind::Override];

/// A rule that every user has.
#[derive(Deserialize)]
struct DefaultRule {
    kind: Kind,
    rule_id: String,
    /// Only with this experimental feature.
    feature: Option<String>,
    /// Only without this experimental feature.
    unless: Option<String>,
    #[serde(default = "on")]
    enabled: bool,
    conditions: Vec<Value>,
    actions: Vec<Value>,
}

fn on() -> bool {
    true
}

impl UserRule {
    /// A row of `push_rules`: its id, priority class, conditions and actions. `None` if it has not the form of its kind.
    pub fn new(
        id: &str,
        priority_class: i64,
        conditions: Vec<Value>,
        actions: Vec<Value>,
    ) -> Option<Self> {
        let kind = match priority_class {
            1 => Kind::Underride,
            2 => Kind::Sender,
            3 => Kind::Room,
            4 => Kind::Content,
            5 => Kind::Override,
            -1 => return Some(Self { id: id.to_owned(), rule: None, actions }),
            _ => return None,
        };
        let rule = template(kind, id.rsplit('/').next()?, conditions)?;
        Some(Self { id: id.to_owned(), rule: Some((kind, rule)), actions })
    }
}

/// The parts of a rule that depend on its kind: id, and conditions or pattern.
fn template(kind: Kind, rule_id: &str, conditions: Vec<Value>) -> Option<Map<String, Value>> {
    let mut rule = Map::from_iter([("rule_id".to_owned(), json!(rule_id))]);
    match (kind, conditions.as_slice()) {
        (Kind::Override | Kind::Underride | Kind::Postcontent, _) => {
            rule.insert("conditions".into(), Value::Array(conditions));
        }
        // The room or sender is both the id and the pattern of the one condition.
        (Kind::Room | Kind::Sender, [condition, ..]) => {
            rule.insert("rule_id".into(), condition.get("pattern")?.clone());
        }
        (Kind::Content, [condition]) => {
            let key =
                ["pattern", "pattern_type"].into_iter().find(|key| condition.get(key).is_some())?;
            rule.insert(key.into(), condition.get(key)?.clone());
        }
        (Kind::Room | Kind::Sender | Kind::Content, _) => return None,
    }
    Some(rule)
}

/// The complete push rules of a user, as `GET /_matrix/client/v3/pushrules/` gives them.
///
/// # Errors
///
/// None in practice: JSON made of JSON serialises.
pub fn tree(
    user_id: &UserId,
    user: &UserRules,
    experimental_features: &BTreeSet<String>,
) -> Result<Box<RawValue>, serde_json::Error> {
    let ids: BTreeSet<&str> = DEFAULT_RULES.iter().map(|(id, _)| id.as_str()).collect();
    let changed: BTreeMap<&str, &[Value]> = user
        .rules
        .iter()
        .filter(|rule| ids.contains(rule.id.as_str()))
        .map(|rule| (rule.id.as_str(), rule.actions.as_slice()))
        .collect();
    let enabled = |id: &str, default| user.enabled.get(id).copied().unwrap_or(default);

    let mut tree: BTreeMap<Kind, Vec<Value>> = KINDS.map(|kind| (kind, Vec::new())).into();
    let mut push = |kind, rule| tree.entry(kind).or_default().push(rule);
    let (first, last): (Vec<_>, Vec<_>) = DEFAULT_RULES
        .iter()
        .filter(|(_, rule)| rule.exists(experimental_features))
        .partition(|(_, rule)| rule.rule_id == ".m.rule.master");
    let default_rule = |push: &mut dyn FnMut(Kind, Value), id: &str, rule: &DefaultRule| {
        let actions = changed.get(id).copied().unwrap_or(&rule.actions).to_vec();
        if let Some(template) = template(rule.kind, &rule.rule_id, rule.conditions.clone()) {
            push(rule.kind, complete(template, user_id, actions, true, enabled(id, rule.enabled)));
        }
    };
    for (id, rule) in first {
        default_rule(&mut push, id, rule);
    }
    for UserRule { id, rule, actions } in &user.rules {
        if let (Some((kind, template)), false) = (rule, ids.contains(id.as_str())) {
            push(
                *kind,
                complete(template.clone(), user_id, actions.clone(), false, enabled(id, true)),
            );
        }
    }
    for (id, rule) in last {
        default_rule(&mut push, id, rule);
    }
    to_raw_value(&BTreeMap::from([("global", tree)]))
}

impl DefaultRule {
    fn id(&self) -> String {
        let kind = match self.kind {
            Kind::Underride => "underride",
            Kind::Sender => "sender",
            Kind::Room => "room",
            Kind::Postcontent => "postcontent",
            Kind::Content => "content",
            Kind::Override => "override",
        };
        format!("global/{kind}/{}", self.rule_id)
    }

    fn exists(&self, experimental_features: &BTreeSet<String>) -> bool {
        let is_on = |feature: &String| experimental_features.contains(feature);
        self.feature.as_ref().is_none_or(is_on) && !self.unless.as_ref().is_some_and(is_on)
    }
}

fn complete(
    mut rule: Map<String, Value>,
    user_id: &UserId,
    actions: Vec<Value>,
    default: bool,
    enabled: bool,
) -> Value {
    fill_in(&mut rule, user_id);
    for condition in rule.get_mut("conditions").and_then(Value::as_array_mut).into_iter().flatten()
    {
        if let Some(condition) = condition.as_object_mut() {
            fill_in(condition, user_id);
        }
    }
    rule.insert("actions".into(), Value::Array(actions));
    rule.insert("default".into(), json!(default));
    rule.insert("enabled".into(), json!(enabled));
    Value::Object(rule)
}

/// Puts the user in the place of `pattern_type` and `value_type`.
fn fill_in(object: &mut Map<String, Value>, user_id: &UserId) {
    for (key, type_key) in [("pattern", "pattern_type"), ("value", "value_type")] {
        let value = match object.remove(type_key).as_ref().and_then(Value::as_str) {
            Some("user_id") => user_id.as_str(),
            Some("user_localpart") => user_id.localpart(),
            _ => continue,
        };
        object.insert(key.into(), json!(value));
    }
}

#[cfg(test)]
mod tests;
