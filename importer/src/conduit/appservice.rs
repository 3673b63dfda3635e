//! Registrations of application services. Conduit reads all at its start and ends if it can't
//! (src/service/appservice/mod.rs:112-133), so one that it would refuse stays behind.
//!
//! Synapse takes the regular expressions of namespaces from the beginning of an id, Conduit anywhere in it
//! (src/service/appservice/mod.rs:25-38). They are anchored, so that no service gets users that were not its own.

use std::collections::BTreeSet;

use regex::RegexSet;
use ruma::{
    UserId,
    api::appservice::{Namespace, Registration},
};

/// A code and a sentence. No words of the registration's own: they may hold a token.
type Refusal = (&'static str, String);

/// Registrations (their texts, by ids) as Conduit can read them, or why it can't.
pub(crate) fn registrations<'a>(
    texts: impl Iterator<Item = (&'a str, &'a str)>,
    server_name: &'a str,
) -> impl Iterator<Item = (&'a str, Result<Registration, Refusal>)> {
    let (mut ids, mut tokens) = (BTreeSet::new(), BTreeSet::new());
    texts.map(move |(id, text)| {
        let registration = readable(text, server_name).and_then(|registration| {
            if !ids.insert(registration.id.clone()) {
                let detail = "another registration with the same id is used";
                return Err(("duplicate-id", detail.into()));
            }
            if !tokens.insert(registration.as_token.clone()) {
                let detail = "another registration with the same as_token is used";
                return Err(("duplicate-token", detail.into()));
            }
            Ok(registration)
        });
        (id, registration)
    })
}

/// The registration as Conduit can read it.
fn readable(text: &str, server_name: &str) -> Result<Registration, Refusal> {
    let mut registration = serde_saphyr::from_str::<Registration>(text).map_err(|_| {
        let detail = "it is not a registration as Matrix specifies it, in YAML: it needs `id`, `url`, \
                      `as_token`, `hs_token`, `sender_localpart` and `namespaces`";
        ("registration-unparsable", detail.to_owned())
    })?;
    let sender = format!("@{}:{server_name}", registration.sender_localpart);
    if registration.sender_localpart == "conduit" || UserId::parse(&sender).is_err() {
        let detail = format!("it acts as {sender}, which is not a possible user");
        return Err(("registration-sender-impossible", detail));
    }
    let namespaces = &mut registration.namespaces;
    for (name, namespaces) in [
        ("users", &mut namespaces.users),
        ("aliases", &mut namespaces.aliases),
        ("rooms", &mut namespaces.rooms),
    ] {
        namespaces.iter_mut().for_each(anchor);
        for exclusive in [true, false] {
            let same = namespaces.iter().filter(|namespace| namespace.exclusive == exclusive);
            let set = RegexSet::new(same.map(|namespace| namespace.regex.as_str()));
            set.map_err(|_| {
                let detail = format!(
                    "a regular expression of its namespace `{name}` can't be compiled: write it without look-around \
                     (`(?!…)`, `(?=…)`) and back-references"
                );
                ("registration-regex", detail)
            })?;
        }
    }
    if !json(&registration).chars().all(is_yaml) {
        let detail = "it has characters that YAML does not allow".to_owned();
        return Err(("registration-unprintable", detail));
    }
    Ok(registration)
}

/// Lets a regular expression fit from the beginning only.
fn anchor(namespace: &mut Namespace) {
    let regex = &mut namespace.regex;
    if !regex.starts_with('^') || regex.contains('|') {
        *regex = format!("^(?:{regex})");
    }
}

/// Whether Conduit's parser takes the character unescaped.
fn is_yaml(character: char) -> bool {
    matches!(character, ' '..='~' | '\u{a0}'..='\u{fffd}' | '\u{10000}'..)
        && character != '\u{feff}'
}

/// A registration as JSON, which is YAML, and leaves no text to be taken for a number.
pub(crate) fn json(registration: &Registration) -> String {
    serde_json::to_string(registration).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_fit_from_the_beginning_only() {
        let regex = |text: &str| {
            let mut namespace = Namespace::new(true, text.into());
            anchor(&mut namespace);
            regex::Regex::new(&namespace.regex).unwrap()
        };
        assert!(regex("@irc_.*").is_match("@irc_a:x") && !regex("@irc_.*").is_match("@a:x@irc_"));
        assert!(!regex("^@a|@b").is_match("x@b") && regex("^@a|@b").is_match("@b"));
    }
}
