//! Application services: their registrations, and the users that they act as.

use ruma::api::appservice::Registration;
use secrecy::ExposeSecret as _;

use super::{Import, ImportError};
use crate::{
    conduit::{
        appservice::{json, registrations},
        schema::{layout::Part, trees},
    },
    dump::format::DumpAppservice,
    findings::{Finding, Severity},
    tally::Kind,
};

impl Import<'_> {
    /// Writes the registrations, and the users that the services act as.
    pub(super) fn appservices(
        &mut self,
        appservices: &[DumpAppservice],
    ) -> Result<(), ImportError> {
        let server_name = self.server_name.clone();
        let texts = appservices.iter().map(|one| (&*one.id, one.registration.expose_secret()));
        for (id, registration) in registrations(texts, &server_name) {
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
        let yaml = json(registration);
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

#[cfg(test)]
mod tests;
