//! Which password and token an account gets; and JSON that Synapse takes from its users and a strict reader refuses, as a whole
//! database, verified.

use secrecy::ExposeSecret as _;
use serde_json::json;

use super::{LOCKED, UNKNOWN, stored_password, tokens};
use crate::{
    conduit::{
        inspect,
        schema::{
            dialect::Dialect,
            trees::{self, Tree},
        },
        store::memory::MemoryStore,
    },
    dump::{
        DumpReader, DumpWriter,
        format::{DumpDevice, DumpUser},
    },
    findings::Severity,
    import::{self, Imported},
    progress::Progress,
    tally::Kind,
    verify::{self, StateComparison},
};

/// Imports a user with these members, in JSON, and verifies.
fn imported(members: &str) -> (MemoryStore, Imported) {
    let scratch = tempfile::tempdir().unwrap();
    let directory = scratch.path().join("dump");
    let writer = DumpWriter::create(&directory).unwrap();
    let key = json!({"version": "a", "seed": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"});
    let server = json!({"server_name": "own.test", "signing_key": key});
    writer.server(&serde_json::from_value(server).unwrap()).unwrap();
    let user = format!(r#"{{"user_id":"@alice:own.test",{members}}}"#);
    writer.user(&serde_json::from_str::<DumpUser>(&user).unwrap()).unwrap();
    let manifest = json!({
        "version": crate::dump::format::VERSION, "server_name": "own.test", "created_ts": 1, "files": [],
        "source": {"kind": "sqlite"}, "tally": {"read": {}, "written": {}, "skipped": []},
    });
    writer.finish(serde_json::from_value(manifest).unwrap()).unwrap();
    let dump = DumpReader::open(&directory, |_| {}).unwrap();
    let mut store = MemoryStore::default();
    let imported = import::import(&dump, &mut store, None, &Progress::Hidden).unwrap();
    assert_eq!(imported.tally.unbalanced(), []);
    for skipped in [&*imported.tally.skipped, &[]] {
        let how = StateComparison::All;
        let verified =
            verify::against_dump(&store, &dump, skipped, how, &Progress::Hidden).unwrap();
        let alone = verify::structure(&store, "own.test", &Progress::Hidden).unwrap();
        let mut errors: Vec<_> = verified.findings.into_iter().chain(alone.findings).collect();
        errors.retain(|finding| finding.severity == Severity::Blocking);
        assert_eq!(errors, []);
    }
    (store, imported)
}

fn rows(store: &MemoryStore, tree: &'static Tree) -> String {
    let mut out = Vec::new();
    inspect::inspect(store, Some(tree), true, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn skipped(imported: &Imported) -> Vec<(&str, &str)> {
    let skipped = imported.tally.skipped.iter();
    skipped.map(|skip| (skip.item.as_str(), skip.reason.as_str())).collect()
}

/// What no [`serde_json::Value`] can hold.
fn opaque() -> [String; 4] {
    let deep = format!("{}1{}", "[".repeat(200), "]".repeat(200));
    [r#"{"a":"\ud800"}"#.into(), r#"{"\ud800":1}"#.into(), r#"{"a":1e400}"#.into(), deep]
}

#[test]
fn what_conduit_passes_on_unread_moves_as_it_is() {
    for opaque in opaque() {
        let (store, imported) = imported(&format!(
            r#""account_data":{{"global":{{"x.y":{opaque}}},"rooms":{{"!r:own.test":{{"x.y":{opaque}}}}}}},
            "filters":{{"1":{{"x":{opaque}}}}},
            "key_backups":[{{"version":"1","algorithm":"a","auth_data":{opaque},"etag":"1",
                "rooms":{{"!r:own.test":{{"s":{opaque}}}}}}}],
            "devices":[{{"device_id":"PHONE","one_time_keys":{{"signed_curve25519:A":{opaque}}}}}]"#
        ));
        assert_eq!(skipped(&imported), [], "{opaque}");
        let stored = |tree: &'static Tree| {
            let store: &dyn crate::conduit::store::KvRead = &store;
            let rows = store.scan(tree, &[]).unwrap();
            rows.filter(|row| {
                let (_, value) = row.as_ref().unwrap();
                String::from_utf8_lossy(value).contains(&opaque)
            })
            .count()
        };
        assert_eq!(stored(&trees::ROOMUSERDATAID_ACCOUNTDATA), 2, "{opaque}");
        for tree in [
            &trees::USERFILTERID_FILTER,
            trees::BACKUPID_ALGORITHM.tree(),
            &trees::BACKUPKEYID_BACKUP,
            &trees::ONETIMEKEYID_ONETIMEKEYS,
        ] {
            assert_eq!(stored(tree), 1, "{tree} {opaque}");
        }
    }
}

#[test]
fn a_pusher_that_conduit_could_not_read_is_left_out() {
    for opaque in opaque() {
        let (store, imported) = imported(&format!(
            r#""pushers":[
                {{"pushkey":"k","app_id":"bad","kind":"http","app_display_name":"","device_display_name":"","lang":"",
                  "enabled":true,"data":{{"url":"https://x","x":{opaque}}}}},
                {{"pushkey":"l","app_id":"good","kind":"http","app_display_name":"","device_display_name":"","lang":"",
                  "enabled":true,"data":{{"url":"https://x","x":[1]}}}}]"#
        ));
        let expected = [("bad of @alice:own.test", "pusher-unparsable")];
        assert_eq!(skipped(&imported), expected, "{opaque}");
        assert!(rows(&store, &trees::SENDERKEY_PUSHER).contains("\"good\""));
    }
}

#[test]
fn of_two_pushers_with_a_key_the_last_one_that_can_be_used_moves_and_the_other_is_named() {
    let pusher = |app: &str, more: &str| {
        format!(
            r#"{{"pushkey":"k","app_id":"{app}","kind":"http","app_display_name":"","device_display_name":"","lang":"",
              "data":{{"url":"https://x"}},{more}}}"#
        )
    };
    let pushers = [("a", "true"), ("b", "true"), ("c", "false")]
        .map(|(app, enabled)| pusher(app, &format!(r#""enabled":{enabled}"#)));
    let (store, imported) = imported(&format!(r#""pushers":[{}]"#, pushers.join(",")));
    let expected =
        [("a of @alice:own.test", "pushkey-twice"), ("c of @alice:own.test", "pusher-disabled")];
    assert_eq!(skipped(&imported), expected);
    assert_eq!(imported.tally.written[&Kind::Pusher], 1);
    assert!(rows(&store, &trees::SENDERKEY_PUSHER).contains("\"b\""));
}

#[test]
fn device_keys_that_conduit_could_not_read_are_left_out() {
    let (_, imported) = imported(
        r#""devices":[{"device_id":"PHONE","keys":{"user_id":"@alice:own.test","device_id":"PHONE","x":"\ud800"}}]"#,
    );
    assert_eq!(skipped(&imported), [("PHONE of @alice:own.test", "key-unparsable")]);
}

#[test]
fn one_bad_entry_costs_no_other_one_and_is_named() {
    let (store, imported) = imported(
        r#""account_data":{"global":{
            "m.ignored_user_list":{"ignored_users":{"@spam:x.test":{},"@typo":{}}},
            "m.direct":{"@a:x.test":["!r:x.test"],"@b:x.test":null},
            "m.push_rules":{"global":{}}},
        "rooms":{"!r:own.test":{"m.tag":{"tags":{"m.favourite":{"order":"first"}}}}}}"#,
    );
    assert_eq!(
        skipped(&imported),
        [
            (
                r#"m.direct of @alice:own.test: the rooms with "@b:x.test", which are no list"#,
                "account-data-entry-unreadable"
            ),
            (
                r#"m.ignored_user_list of @alice:own.test: "@typo", which is no user id"#,
                "account-data-entry-unreadable"
            ),
            ("m.push_rules of @alice:own.test", "push-rules-unused"),
            (
                r#"m.tag of @alice:own.test !r:own.test: the order of the tag "m.favourite", which is no number"#,
                "account-data-entry-unreadable"
            ),
        ]
    );
    let rows = rows(&store, &trees::ROOMUSERDATAID_ACCOUNTDATA);
    for kept in ["@spam:x.test", "!r:x.test", "m.favourite"] {
        assert!(rows.contains(kept), "{kept}: {rows}");
    }
}

#[test]
fn push_rules_that_nobody_would_use_are_counted_and_named() {
    let rules = r#""push_rules":{"global":{"override":[]}}"#;
    let left_out = [("m.push_rules of @alice:own.test", "account-without-rights")];
    for (state, expected) in [
        (r#""deactivated":true"#, left_out.as_slice()),
        (r#""guest":true"#, &left_out),
        (r#""deactivated":false"#, &[]),
    ] {
        let (store, imported) = imported(&format!("{rules},{state}"));
        assert_eq!(skipped(&imported), expected, "{state}");
        let stored = rows(&store, &trees::ROOMUSERDATAID_ACCOUNTDATA);
        let has_own = stored.lines().any(|row| row.contains("@alice:own.test"));
        assert_eq!(has_own, expected.is_empty(), "{state}: {stored}");
    }
}

fn user(members: &str) -> DumpUser {
    serde_json::from_str(&format!(r#"{{"user_id":"@alice:own.test"{members}}}"#)).unwrap()
}

#[test]
fn an_account_gets_the_password_that_lets_in_whom_synapse_let_in() {
    let hash = r#","password_hash":"$2b$12$hash""#;
    let stored = [
        hash.to_owned(),
        String::new(),
        r#","external_ids":[{"auth_provider":"oidc","external_id":"1"}]"#.to_owned(),
        format!(r#"{hash},"deactivated":true"#),
        format!(r#"{hash},"guest":true"#),
        format!(r#"{hash},"appservice_id":"irc""#),
        format!(r#"{hash},"locked":true"#),
        format!(r#"{hash},"suspended":true"#),
        format!(r#"{hash},"shadow_banned":true"#),
        format!(r#"{hash},"awaiting_approval":true"#),
        r#","locked":true"#.to_owned(),
        // What gives fewer rights decides.
        format!(r#"{hash},"locked":true,"deactivated":true"#),
    ]
    .map(|members| {
        let user = user(&members);
        [Dialect::Conduit, Dialect::Continuwuity]
            .map(|dialect| stored_password(&user, dialect).to_owned())
    });
    let hash = "$2b$12$hash";
    // Continuwuity locks and suspends accounts itself.
    let expected = [
        [hash, hash],
        [UNKNOWN, UNKNOWN],
        [UNKNOWN, UNKNOWN],
        ["", ""],
        ["", ""],
        ["", ""],
        [LOCKED, hash],
        [LOCKED, hash],
        [LOCKED, LOCKED],
        [LOCKED, LOCKED],
        [LOCKED, UNKNOWN],
        ["", ""],
    ];
    assert_eq!(stored, expected);
}

/// The tokens of a device with these in its list, newest last, and the reasons to leave them out.
fn chosen(
    list: &[(&str, Option<u64>)],
    may_act: bool,
    knows_expiry: bool,
) -> Vec<(String, &'static str)> {
    let list: Vec<_> = list
        .iter()
        .map(|(token, until)| json!({"token": token, "valid_until_ts": until}))
        .collect();
    let device = json!({"device_id": "PHONE", "access_tokens": list});
    let device: DumpDevice = serde_json::from_value(device).unwrap();
    tokens(&device, may_act, knows_expiry)
        .map(|(token, reason)| {
            let code = reason.map_or("taken", |reason| reason.code);
            (token.token.expose_secret().to_owned(), code)
        })
        .collect()
}

#[test]
fn of_the_tokens_of_a_device_the_newest_that_never_ends_is_taken() {
    let said = |found: Vec<(String, &'static str)>| {
        found.into_iter().map(|(token, code)| format!("{token} {code}")).collect::<Vec<_>>()
    };
    let list = [("oldest", None), ("older", None), ("newer", Some(5)), ("newest", Some(9))];
    assert_eq!(
        said(chosen(&list, true, false)),
        ["newest token-expires", "newer token-expires", "older taken", "oldest older-token"]
    );
    assert_eq!(
        said(chosen(&list, true, true)),
        ["newest older-token", "newer older-token", "older taken", "oldest older-token"]
    );
    assert_eq!(
        said(chosen(&[("a", Some(1)), ("b", Some(2))], true, true)),
        ["b taken", "a older-token"]
    );
    assert_eq!(
        said(chosen(&[("a", None), ("b", None)], true, false)),
        ["b taken", "a older-token"]
    );
    assert_eq!(said(chosen(&[("a", Some(1))], true, false)), ["a token-expires"]);
    assert_eq!(said(chosen(&[("a", None)], false, false)), ["a account-without-rights"]);
    assert_eq!(said(chosen(&[], true, false)), [""; 0]);
}
