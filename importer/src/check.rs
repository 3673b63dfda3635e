//! Checks before anything is written: whatever could make a later step fail or lose something, found while Synapse runs.
//!
//! The codes are a table, [`crate::findings::codes`]. What is found is judged here; the facts come from
//! [`crate::source::survey`] and the configurations.

mod accounts;
pub mod census;
mod installed;
mod media;
mod of_dump;
mod rooms;
mod running;
mod services;
mod source;
mod space;
mod target;

#[cfg(test)]
mod tests;

use std::borrow::Cow;

pub(crate) use self::source::chain;
pub use self::{
    media::copying_seconds,
    of_dump::of_dump,
    source::{configuration_errors, source_error},
    space::{Disk, Plan, plan},
    target::{Dump, Target},
};
use crate::{
    conduit::schema::dialect::Dialect,
    dump::{History, PreparedOrigin},
    findings::{
        Finding,
        codes::{self, Code},
        collector::Findings,
    },
    source::survey::Survey,
    synapse::config::{Deployment, SynapseConfig},
};

/// Findings so far.
#[derive(Debug, Default)]
pub struct Checks {
    found: Findings,
    /// Sessions of others on Synapse's PostgreSQL database.
    sessions: u64,
    /// Whether Synapse's main process keeps no media.
    media_elsewhere: bool,
    /// The server that is moved to.
    dialect: Dialect,
    /// Bytes of users' media files that were copied beforehand.
    prepared_bytes: u64,
}

/// Whether Synapse can be seen to run, by its configuration.
pub fn is_running(deployment: &Deployment, config: &SynapseConfig) -> bool {
    !running::running(deployment, Some(config), 0).is_empty()
}

impl Checks {
    /// Checks of a move to a server.
    pub fn of(dialect: Dialect) -> Self {
        Self { dialect, ..Self::default() }
    }

    /// Checks Synapse's configuration.
    pub fn configuration(&mut self, config: &SynapseConfig, deployment: &Deployment) {
        self.media_elsewhere = deployment.media_elsewhere;
        source::configuration(self, config, deployment);
    }

    /// Checks that no Synapse runs: before a migration, which would lose what it writes.
    /// To be called after [`Checks::survey`].
    pub fn stopped(&mut self, deployment: &Deployment, config: Option<&SynapseConfig>) {
        for finding in running::running(deployment, config, self.sessions) {
            self.found.push(finding);
        }
    }

    /// Checks what is in Synapse. `config` is absent if its APIs are read.
    pub fn survey(&mut self, survey: &Survey, config: Option<&SynapseConfig>) {
        self.sessions = survey.database.as_ref().map_or(0, |database| database.other_sessions);
        source::database(self, survey);
        accounts::check(self, survey, config);
        rooms::check(self, survey);
        census::survey(self, survey);
        source::signatures(self, survey);
        source::media(self, survey, config, self.media_elsewhere);
    }

    /// Checks the media files that were copied beforehand, and whether they can be used `now`. Gives the bytes of those that
    /// users uploaded.
    pub fn prepared_media(&mut self, target: &Target, origin: &PreparedOrigin, now: bool) -> u64 {
        self.prepared_bytes = media::prepared(self, target, origin, now);
        self.prepared_bytes
    }

    /// Checks where dump and database are to be. Gives what will be written where.
    /// To be called after [`Checks::prepared_media`].
    pub fn target(
        &mut self,
        target: &Target,
        survey: Option<&Survey>,
        deployment: Option<&Deployment>,
        history: History,
    ) -> Vec<Disk> {
        target::check(self, target, survey, deployment);
        survey.map(|survey| space::check(self, target, survey, history)).unwrap_or_default()
    }

    /// Adds a finding.
    pub fn add(&mut self, finding: Finding) {
        self.found.push(finding);
    }

    fn found(
        &mut self,
        code: &Code,
        subject: impl Into<String>,
        text: impl Into<Cow<'static, str>>,
    ) {
        self.found.add(code, subject, text);
    }

    /// All findings, the worst first, with a line for those that were only counted.
    pub fn finish(self) -> Vec<Finding> {
        let mut findings = self.found.finish();
        self.dialect.reword(&mut findings);
        // What blocks says it, too.
        if findings.iter().any(|finding| finding.code == codes::MEDIA_ELSEWHERE.code) {
            findings.retain(|finding| finding.code != codes::OTHER_MEDIA.code);
        }
        findings
    }
}
