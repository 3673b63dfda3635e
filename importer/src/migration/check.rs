//! The first step: whatever could make a later one fail or lose something is found before anything is written.

use std::{collections::BTreeSet, path::PathBuf};

use super::{Homeserver, Target};
use crate::{
    check::{self, Checks, Plan},
    conduit::schema::dialect::Dialect,
    dump::{Extent, MediaFiles, MediaStore, PreparedOrigin},
    findings::{self, Finding, Severity, codes},
    runtime::block_on,
    source::{SourceError, survey::Survey},
    synapse::config::Configuration,
};

/// What the checks found.
#[derive(Debug)]
pub struct Checked {
    /// Findings, the worst first.
    pub findings: Vec<Finding>,
    /// How much there is to move, and what that needs, if Synapse could be read.
    pub plan: Option<Plan>,
    /// Whether Synapse could not be read at all.
    pub is_unreadable: bool,
}

impl Checked {
    /// Whether the migration must not go on.
    pub fn blocks(&self) -> bool {
        findings::gravest(&self.findings) == Some(Severity::Blocking)
    }
}

/// Whether Synapse may run while it is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Synapse {
    /// It may: this is a rehearsal, or a look some days before.
    MayRun,
    /// It must have been stopped: what it writes from now on would be lost.
    MustBeStopped,
}

/// Checks whatever can be checked of a move to a server. `place` is where everything is to be, if that is known, or the finding that Conduit's
/// configuration can't be used. Findings of the codes `accepted` don't block.
pub fn check(
    homeserver: &Homeserver<'_>,
    dialect: Dialect,
    place: Option<Result<check::Target, Box<Finding>>>,
    synapse: Synapse,
    accepted: &BTreeSet<String>,
) -> Checked {
    let mut checks = Checks::of(dialect);
    let (survey, is_unreadable) = look(homeserver, &mut checks);
    let configuration = homeserver.configuration.ok().flatten();
    let deployment = configuration.map(|known| &known.deployment);
    let mut plan = survey.as_ref().map(|survey| check::plan(survey, homeserver.extent.history));
    let media_store = media_store(homeserver);
    match place {
        Some(Ok(target)) => {
            let text = "keep Synapse's tokens indefinitely";
            checks.add(codes::OLD_TOKENS.of("clients", text));
            let origin =
                media_store.as_ref().and_then(|(name, store)| PreparedOrigin::of(name, store));
            let now = synapse == Synapse::MustBeStopped;
            let prepared_bytes =
                origin.map_or(0, |origin| checks.prepared_media(&target, &origin, now));
            let history = homeserver.extent.history;
            let disks = checks.target(&target, survey.as_ref(), deployment, history);
            plan = plan.map(|plan| Plan { prepared_bytes, disks, ..plan });
        }
        Some(Err(finding)) => checks.add(*finding),
        None => {}
    }
    // That takes a moment, which a migration need not wait for.
    if let (Synapse::MayRun, Some(plan), Some((_, store))) = (synapse, &mut plan, &media_store) {
        let bytes = plan.file_bytes.saturating_sub(plan.prepared_bytes);
        plan.media_seconds = check::copying_seconds(store, bytes);
    }
    if let (Synapse::MustBeStopped, Some(known)) = (synapse, configuration) {
        checks.stopped(&known.deployment, Some(&known.config));
    }
    let mut findings = checks.finish();
    findings::accept(&mut findings, accepted);
    Checked { findings, plan, is_unreadable }
}

/// The server's name and its media store, if files are copied from there into Conduit's directory.
fn media_store(homeserver: &Homeserver<'_>) -> Option<(String, MediaStore)> {
    let config = &homeserver.configuration.ok().flatten()?.config;
    let store = MediaStore::of_synapse(config.media_roots());
    let is_read = homeserver.extent.media == MediaFiles::Refer;
    is_read.then(|| (config.server_name.to_string(), store))
}

/// Looks into Synapse. Gives what is there, and whether it could not be read.
fn look(homeserver: &Homeserver<'_>, checks: &mut Checks) -> (Option<Survey>, bool) {
    let configuration = match homeserver.configuration {
        Ok(configuration) => configuration,
        Err(error) => {
            for finding in check::configuration_errors(error) {
                checks.add(finding);
            }
            return (None, true);
        }
    };
    if let Some(Configuration { config, deployment, .. }) = configuration {
        checks.configuration(config, deployment);
    }
    match survey(homeserver) {
        Ok(survey) => {
            checks.survey(&survey, configuration.map(|known| &known.config));
            (Some(survey), false)
        }
        Err(error) => {
            checks.add(unreadable(&error));
            (None, true)
        }
    }
}

fn survey(homeserver: &Homeserver<'_>) -> anyhow::Result<Survey> {
    block_on(async {
        let mut source = homeserver.open().await?;
        let survey = source.survey().await;
        source.close().await?;
        Ok(survey?)
    })
}

fn unreadable(error: &anyhow::Error) -> Finding {
    match error.downcast_ref::<SourceError>() {
        Some(error) => check::source_error(error),
        None => codes::SOURCE.of("Synapse", check::chain(error.as_ref())),
    }
}

/// The plan for a dump in `path`: with `reuse`, an earlier one is taken if it is there.
pub fn planned(path: PathBuf, reuse: bool, extent: Extent) -> check::Dump {
    if reuse && path.join("manifest.json").is_file() {
        check::Dump::Reused(path, extent)
    } else {
        check::Dump::New(path)
    }
}

/// Where everything is to be; `binary` is Conduit's program, if it is known.
pub fn place(
    target: &Target,
    dump: check::Dump,
    report: PathBuf,
    binary: Option<PathBuf>,
) -> check::Target {
    check::Target {
        dump,
        report,
        database: target.directory.clone(),
        media: target.media.path().to_owned(),
        server_name: target.server_name.clone(),
        service: target.service.clone(),
        binary,
        dialect: target.dialect,
    }
}
