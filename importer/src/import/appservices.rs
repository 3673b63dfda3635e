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
use secrecy::ExposeSecret as _;

use super::{Import, ImportError, user::json_text};
use crate::{
    conduit::{layout::Part, trees},
    dump::format::DumpAppservice,
    findings::{Finding, Severity},
    tally::Kind,
};

/// A code and a sentence. No words of the registration's own: they may hold a token.
type Refusal = (&'static str, String);

impl Import<'_> {
    /// Writes the registrations, and the users that the services act as.
    pub(super) fn appservices(
        &mut self,
        appservices: &[DumpAppservice],
    ) -> Result<(), ImportError> {
        let server_name = self.server_name.clone();
        for (id, registration) in registrations(appservices, &server_name) {
            self.tally.read(Kind::Appservice, 1);
            match registration {
                Ok(registration) => self.appservice(&registration)?,
                Err((reason, detail)) => {
                    self.findings.push(Finding::import(
                        Severity::Warning,
                        "I009",
                        id,
                        format!("the application service is left out: {detail}"),
                        "mend its registration and give it to Conduit's admin room with `register-appservice`",
                    ));
                    self.tally.skip(Kind::Appservice, id, reason, detail);
                }
            }
        }
        Ok(())
    }

    fn appservice(&mut self, registration: &Registration) -> Result<(), ImportError> {
        // JSON is YAML, and leaves no text to be taken for a number.
        let yaml = json_text(registration);
        let key = [Part::Text(&registration.id)];
        self.rows.put(&trees::ID_APPSERVICEREGISTRATIONS, &key, &[Part::Text(&yaml)])?;
        // Without this row, Conduit refuses whatever the service does in its own name
        // (src/api/ruma_wrapper/axum.rs:130-153).
        let user = format!("@{}:{}", registration.sender_localpart, self.server_name);
        let key = trees::USERID_PASSWORD.key(&[Part::Text(&user)]);
        if self.rows.get(&trees::USERID_PASSWORD, &key)?.is_none() {
            self.rows.put_raw(&trees::USERID_PASSWORD, key, Vec::new())?;
        }
        self.tally.written(Kind::Appservice, 1);
        Ok(())
    }
}

/// Registrations by their ids, as Conduit can read them, or why it can't.
pub(crate) fn registrations<'a>(
    appservices: &'a [DumpAppservice],
    server_name: &'a str,
) -> impl Iterator<Item = (&'a str, Result<Registration, Refusal>)> {
    let (mut ids, mut tokens) = (BTreeSet::new(), BTreeSet::new());
    appservices.iter().map(move |appservice| {
        let registration = readable(appservice, server_name).and_then(|registration| {
            if !ids.insert(registration.id.clone()) {
                let detail = "another registration has the same id, and was taken";
                return Err(("duplicate-id", detail.into()));
            }
            if !tokens.insert(registration.as_token.clone()) {
                let detail = "another registration has the same as_token, and was taken";
                return Err(("duplicate-token", detail.into()));
            }
            Ok(registration)
        });
        (appservice.id.as_str(), registration)
    })
}

/// The registration as Conduit can read it.
fn readable(appservice: &DumpAppservice, server_name: &str) -> Result<Registration, Refusal> {
    let text = appservice.registration.expose_secret();
    let mut registration = serde_saphyr::from_str::<Registration>(text).map_err(|_| {
        let detail = "it is not the YAML of a registration as the specification has it: it needs `id`, `url`, \
                      `as_token`, `hs_token`, `sender_localpart` and `namespaces`";
        ("registration-unparsable", detail.to_owned())
    })?;
    let sender = format!("@{}:{server_name}", registration.sender_localpart);
    if registration.sender_localpart == "conduit" || UserId::parse(&sender).is_err() {
        let detail = format!("it acts as {sender}, which can't be");
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
                    "a regular expression of its namespace `{name}` is none that Conduit \
                     knows, which has no look-around (`(?!…)`, `(?=…)`) and no back-references: write it without"
                );
                ("registration-regex", detail)
            })?;
        }
    }
    if !json_text(&registration).chars().all(is_yaml) {
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

#[cfg(test)]
mod tests;
