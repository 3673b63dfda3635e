//! Registrations of application services: Conduit reads all at start and ends if it can't
//! (src/database/key_value/appservice.rs:32, src/service/appservice/mod.rs:125).

use regex::RegexSet;
use ruma::api::appservice::{Namespace, Namespaces, Registration};

use crate::{
    conduit::{schema::trees, store::KvRead},
    findings::{codes, collector::Findings},
    verify::VerifyError,
};

pub(in crate::verify) fn check(
    store: &dyn KvRead,
    found: &mut Findings,
) -> Result<(), VerifyError> {
    for row in store.scan(&trees::ID_APPSERVICEREGISTRATIONS, &[])? {
        let (key, yaml) = row?;
        let id = String::from_utf8_lossy(&key).into_owned();
        // The parser's words may quote a token.
        match serde_saphyr::from_slice::<Registration>(&yaml) {
            Err(_) => {
                found.add(&codes::APPSERVICE_UNUSABLE, id, "Conduit can't read this registration");
            }
            Ok(registration) if registration.id != id => {
                let text = format!("is the registration of `{}`", registration.id);
                found.add(&codes::APPSERVICE_UNUSABLE, id, text);
            }
            Ok(registration) if !compiles(registration.namespaces.clone()) => {
                found.add(
                    &codes::APPSERVICE_UNUSABLE,
                    id,
                    "Conduit can't compile the regular expressions of its namespaces",
                );
            }
            Ok(_) => {}
        }
    }
    Ok(())
}

/// Conduit compiles them in these sets (src/service/appservice/mod.rs:52-83).
fn compiles(namespaces: Namespaces) -> bool {
    let Namespaces { users, aliases, rooms, .. } = namespaces;
    [users, aliases, rooms].into_iter().all(|namespaces| {
        let (exclusive, shared): (Vec<Namespace>, Vec<Namespace>) =
            namespaces.into_iter().partition(|namespace| namespace.exclusive);
        [exclusive, shared]
            .into_iter()
            .all(|set| RegexSet::new(set.into_iter().map(|namespace| namespace.regex)).is_ok())
    })
}
