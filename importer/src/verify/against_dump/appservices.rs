//! Registrations of application services.

use std::collections::BTreeMap;

use regex::Regex;
use ruma::api::appservice::{Namespace, Registration};
use secrecy::ExposeSecret as _;
use serde_json::Value;

use super::{Findings, KvRead, Skipped, VerifyError, codes};
use crate::{
    conduit::schema::{shapes::User, trees},
    dump::format::DumpAppservice,
    tally::Kind,
    verify::tools::lookup::get,
};

pub(super) fn compare(
    store: &dyn KvRead,
    appservices: &[DumpAppservice],
    server_name: &str,
    skipped: &Skipped<'_>,
    found: &mut Findings,
) -> Result<(), VerifyError> {
    let mut stored = BTreeMap::new();
    for row in store.scan(&trees::ID_APPSERVICEREGISTRATIONS, &[])? {
        let (id, yaml) = row?;
        let registration = serde_saphyr::from_slice::<Registration>(&yaml).ok();
        stored.insert(String::from_utf8_lossy(&id).into_owned(), registration);
    }
    let mut expected: BTreeMap<String, Registration> = BTreeMap::new();
    for appservice in appservices {
        let text = appservice.registration.expose_secret();
        let Some(registration) = serde_saphyr::from_str::<Registration>(text).ok() else {
            continue;
        };
        let is_storable = is_storable(&registration)
            && expected.values().all(|other| other.as_token != registration.as_token);
        // The first of two with one id counts, which the list of what was left out can't tell.
        if !expected.contains_key(&registration.id) && is_storable {
            expected.insert(registration.id.clone(), registration);
        }
    }
    for (id, registration) in &expected {
        match stored.remove(id) {
            None if skipped.explains(Kind::Appservice, id) => continue,
            None => {
                found.add(&codes::MISSING_IN_DATABASE, id, "the application service is missing");
            }
            Some(stored) => {
                if !stored.is_some_and(|stored| is_same(&stored, registration)) {
                    found.add(
                        &codes::DIFFERS_FROM_DUMP,
                        id,
                        "the application service's registration differs",
                    );
                }
            }
        }
        let user = format!("@{}:{server_name}", registration.sender_localpart);
        if get(store, &trees::USERID_PASSWORD, &User { user: &user })?.is_none() {
            found.add(
                &codes::MISSING_IN_DATABASE,
                user,
                "the user that an application service acts as is missing",
            );
        }
    }
    for id in stored.into_keys() {
        found.add(&codes::NOT_IN_DUMP, id, "is an application service that the dump does not have");
    }
    Ok(())
}

/// Whether Conduit starts with it.
fn is_storable(registration: &Registration) -> bool {
    let namespaces = &registration.namespaces;
    let all = [&namespaces.users, &namespaces.aliases, &namespaces.rooms];
    registration.sender_localpart != "conduit"
        && all.into_iter().flatten().all(|namespace| Regex::new(&namespace.regex).is_ok())
}

/// The same but for regular expressions, which must fit from the beginning of an id only.
fn is_same(stored: &Registration, dumped: &Registration) -> bool {
    let namespaces = |registration: &Registration| {
        let all = &registration.namespaces;
        [all.users.clone(), all.aliases.clone(), all.rooms.clone()]
    };
    let rest = |registration: &Registration| {
        let mut json = serde_json::to_value(registration).ok()?;
        json.as_object_mut()?.remove("namespaces");
        Some(json)
    };
    let anchored = |(stored, dumped): (&Namespace, &Namespace)| {
        let (stored_regex, regex) = (&stored.regex, &dumped.regex);
        let as_it_is = stored_regex == regex && regex.starts_with('^') && !regex.contains('|');
        stored.exclusive == dumped.exclusive
            && (as_it_is || *stored_regex == format!("^(?:{regex})"))
    };
    rest(stored).filter(Value::is_object) == rest(dumped)
        && namespaces(stored).iter().zip(&namespaces(dumped)).all(|(stored, dumped)| {
            stored.len() == dumped.len() && stored.iter().zip(dumped).all(anchored)
        })
}
