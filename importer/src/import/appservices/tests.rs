use super::*;
use crate::conduit::store::{KvRead as _, memory::MemoryStore};

/// What a bridge's generator writes, with a comment, words of YAML 1.1 and keys that ruma doesn't know.
const IRC: &str = "\
# The bridge to IRC
id: irc
url: http://127.0.0.1:9999
as_token: \"0123\"
hs_token: hush
sender_localpart: irc
rate_limited: no
de.sorunome.msc2409.push_ephemeral: true
namespaces:
  users:
    - exclusive: yes
      regex: '@irc_.*:family\\.test'
    - exclusive: false
      regex: '^@(a|b):family\\.test$'
  aliases:
    - {exclusive: true, regex: '^#irc_.*'}
";

fn import(registrations: &[(&str, &str)]) -> (MemoryStore, Tally, Vec<Finding>) {
    let mut store = MemoryStore::default();
    let mut rows = Rows::new(&mut store);
    let mut tally = Tally::default();
    let dumped: Vec<_> = registrations
        .iter()
        .map(|(id, yaml)| DumpAppservice {
            id: (*id).to_owned(),
            registration: (*yaml).to_owned().into(),
        })
        .collect();
    let findings = super::import(&dumped, "family.test", &mut rows, &mut tally).unwrap();
    rows.flush().unwrap();
    (store, tally, findings)
}

#[test]
fn a_registration_becomes_what_conduit_reads() {
    let (store, tally, findings) = import(&[("irc", IRC)]);
    assert_eq!((tally.unbalanced(), findings), (vec![], vec![]));
    let yaml = store.get(&trees::ID_APPSERVICEREGISTRATIONS, b"irc").unwrap().unwrap();
    insta::assert_snapshot!(String::from_utf8(yaml).unwrap(), @r#"{"id":"irc","url":"http://127.0.0.1:9999","as_token":"0123","hs_token":"hush","sender_localpart":"irc","namespaces":{"users":[{"exclusive":true,"regex":"^(?:@irc_.*:family\\.test)"},{"exclusive":false,"regex":"^(?:^@(a|b):family\\.test$)"}],"aliases":[{"exclusive":true,"regex":"^#irc_.*"}]},"rate_limited":false}"#);
    let bot = store.get(&trees::USERID_PASSWORD, b"@irc:family.test").unwrap();
    assert_eq!(bot, Some(Vec::new()));
}

#[test]
fn what_conduit_would_refuse_is_left_out_with_a_reason() {
    let with = |from: &str, to: &str| IRC.replacen(from, to, 1);
    let cases = [
        ("registration-unparsable", "id: [".to_owned()),
        ("registration-unparsable", "just text".to_owned()),
        ("registration-unparsable", with("namespaces:", "spaces:")),
        ("registration-unparsable", with("url: http://127.0.0.1:9999\n", "")),
        ("registration-sender-impossible", with("localpart: irc", "localpart: conduit")),
        ("registration-regex", with("@irc_.*", "@(?!irc_)")),
        ("registration-regex", with("@irc_.*", "@(")),
        ("registration-unprintable", with("hush", "\"hu\\x7fsh\"")),
    ];
    for (reason, yaml) in cases {
        let (store, tally, findings) = import(&[("irc", &yaml)]);
        let reasons: Vec<_> = tally.skipped.iter().map(|skip| skip.reason.as_str()).collect();
        assert_eq!(reasons, [reason], "{yaml}");
        assert!(tally.unbalanced().is_empty());
        assert_eq!(findings.len(), 1);
        assert_eq!(store.scan(&trees::ID_APPSERVICEREGISTRATIONS, &[]).unwrap().count(), 0);
        // Neither a log nor a report may hold the tokens.
        assert!(!format!("{findings:?} {tally:?}").contains("0123"));
    }
}

#[test]
fn two_with_one_id_or_token_become_one() {
    let other = IRC.replacen("id: irc", "id: other", 1);
    let (_, tally, _) = import(&[("irc", IRC), ("irc", IRC), ("other", &other)]);
    let reasons: Vec<_> = tally.skipped.iter().map(|skip| skip.reason.as_str()).collect();
    assert_eq!(reasons, ["duplicate-id", "duplicate-token"]);
    assert!(tally.unbalanced().is_empty());
}
