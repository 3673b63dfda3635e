//! Application services: their registrations, and the users that they act as.

use ruma::api::appservice::Registration;
use secrecy::ExposeSecret as _;

use super::{ImportError, row_writer::Rows};
use crate::{
    conduit::{
        appservice::{json, registrations},
        schema::{
            shapes::{Id, Registration as StoredRegistration},
            trees,
        },
    },
    dump::format::DumpAppservice,
    findings::{Finding, codes},
    tally::{Kind, Tally},
};

/// Writes the registrations, and the users that the services act as. Gives what the operator must know.
pub(super) fn import(
    appservices: &[DumpAppservice],
    server_name: &str,
    rows: &mut Rows<'_>,
    tally: &mut Tally,
) -> Result<Vec<Finding>, ImportError> {
    let mut findings = Vec::new();
    let texts = appservices.iter().map(|one| (&*one.id, one.registration.expose_secret()));
    for (id, registration) in registrations(texts, server_name) {
        tally.read(Kind::Appservice, 1);
        match registration {
            Ok(registration) => {
                write(&registration, server_name, rows)?;
                tally.written(Kind::Appservice, 1);
            }
            Err((reason, detail)) => {
                let text = format!("the application service is left out: {detail}");
                findings.push(codes::APPSERVICE_LEFT.of(id, text));
                tally.skip(Kind::Appservice, id, reason, detail);
            }
        }
    }
    Ok(findings)
}

fn write(
    registration: &Registration,
    server_name: &str,
    rows: &mut Rows<'_>,
) -> Result<(), ImportError> {
    let yaml = json(registration);
    let key = Id { id: &registration.id };
    rows.put(&trees::ID_APPSERVICEREGISTRATIONS, &key, &StoredRegistration { yaml: &yaml })?;
    // Without this row, Conduit refuses whatever the service does in its own name
    // (src/api/ruma_wrapper/axum.rs:130-153).
    rows.ensure_account(&format!("@{}:{server_name}", registration.sender_localpart))
}

#[cfg(test)]
mod tests;
