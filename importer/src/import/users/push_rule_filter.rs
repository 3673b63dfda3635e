//! Push rules that Conduit's parser accepts: one that it refuses would make other people's messages fail. The dump has
//! whole rulesets; `synapse/push_ruleset.rs` builds them from the rows of Synapse's database.

use ruma::{UserId, push::Ruleset};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

use crate::tally::{Kind, Tally};

/// The kinds of rules, in order of evaluation.
const KINDS: [&str; 5] = ["override", "content", "room", "sender", "underride"];

/// Whether a content of `m.push_rules` can stay as it is, as mostly all can.
pub(in crate::import) fn are_good(rules: Option<&RawValue>) -> bool {
    // Serde would take an array for a struct, too.
    rules.map(RawValue::get).is_some_and(|rules| {
        rules.starts_with('{') && serde_json::from_str::<Content>(rules).is_ok()
    })
}

/// The content of `m.push_rules`: the user's rules, without those that Conduit would refuse. Each of these is counted as
/// left out. A user whose rules are not known gets the defaults.
pub(in crate::import) fn content(
    user_id: &UserId,
    rules: Option<&RawValue>,
    tally: &mut Tally,
) -> Value {
    let known = rules.and_then(|rules| serde_json::from_str::<Value>(rules.get()).ok());
    let Some(mut global) = known.and_then(|mut rules| rules.get_mut("global").map(Value::take))
    else {
        return json!({ "global": Ruleset::server_default(user_id) });
    };
    if parses(&global).is_ok() {
        return json!({ "global": global });
    }
    for kind in KINDS {
        let Some(list) = global.get_mut(kind).and_then(Value::as_array_mut) else { continue };
        list.retain(|rule| {
            let refused = parses(&json!({ kind: [rule] })).err();
            if let Some(error) = &refused {
                let id = rule.get("rule_id").and_then(Value::as_str).unwrap_or("without id");
                let item = format!("push rule {id} of {user_id}");
                tally.read(Kind::AccountData, 1);
                tally.skip(Kind::AccountData, item, "push-rule-refused", error.to_string());
            }
            refused.is_none()
        });
    }
    match parses(&global) {
        Ok(()) => json!({ "global": global }),
        Err(error) => {
            let item = format!("push rules of {user_id}");
            tally.read(Kind::AccountData, 1);
            tally.skip(Kind::AccountData, item, "push-rules-refused", error.to_string());
            json!({ "global": Ruleset::server_default(user_id) })
        }
    }
}

/// A user's rules as Conduit's parser takes them, and nothing else.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    #[serde(rename = "global")]
    _global: Ruleset,
}

/// Whether Conduit's parser accepts rules.
fn parses(global: &Value) -> Result<(), serde_json::Error> {
    Ruleset::deserialize(global).map(drop)
}

#[cfg(test)]
mod tests {
    use ruma::user_id;

    use super::*;

    fn run(rules: &str) -> (Value, Tally) {
        let mut tally = Tally::default();
        let rules = RawValue::from_string(rules.to_owned()).unwrap();
        (content(user_id!("@a:x"), Some(&rules), &mut tally), tally)
    }

    #[test]
    fn rules_stay_as_they_are() {
        let rules = r#"{"global":{"override":[{"rule_id":".m.rule.master","default":true,"enabled":false,"actions":[],"conditions":[]}],"content":[{"rule_id":"mine","default":false,"enabled":true,"pattern":"cake","actions":["notify",{"set_tweak":"highlight"}]}]}}"#;
        let (content, tally) = run(rules);
        assert_eq!(content, serde_json::from_str::<Value>(rules).unwrap());
        assert_eq!(tally, Tally::default());
    }

    #[test]
    fn a_rule_that_conduit_refuses_is_named_and_the_others_stay() {
        let (content, tally) = run(
            r#"{"global":{"content":[{"rule_id":"bad","default":false,"enabled":true,"actions":[]},{"rule_id":"good","default":false,"enabled":true,"pattern":"x","actions":[]}]}}"#,
        );
        assert_eq!(content["global"]["content"].as_array().unwrap().len(), 1);
        assert_eq!(tally.skipped[0].item, "push rule bad of @a:x");
        assert!(tally.unbalanced().is_empty());
    }

    #[test]
    fn what_is_not_rules_alone_does_not_stay() {
        for (rules, good) in [
            (r#"{"global":{}}"#, true),
            (r#"{"global":{"override":[],"odd":1}}"#, true),
            (r#"[{"override":[]}]"#, false),
            (r#"{"global":{},"device":{}}"#, false),
            (r#"{"global":{},"global":{}}"#, false),
            (r#"{"global":null}"#, false),
            ("{}", false),
        ] {
            let raw = RawValue::from_string(rules.to_owned()).unwrap();
            assert_eq!(are_good(Some(&raw)), good, "{rules}");
        }
        assert!(!are_good(None));
    }

    #[test]
    fn unknown_rules_become_the_defaults() {
        let content = content(user_id!("@a:x"), None, &mut Tally::default());
        let rules: Ruleset = serde_json::from_value(content["global"].clone()).unwrap();
        assert_eq!(
            serde_json::to_value(rules).unwrap(),
            serde_json::to_value(Ruleset::server_default(user_id!("@a:x"))).unwrap()
        );
    }
}
