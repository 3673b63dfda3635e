//! Conduit's configuration, and the places where dump and database are to be.

use std::{
    io,
    net::TcpListener,
    path::{Path, PathBuf},
};

use super::{Checks, chain, installed, services};
use crate::{
    conduit::{config::ConduitService, schema::dialect::Dialect},
    dump::{DumpReader, Extent},
    findings::{Finding, codes},
    fs::atomic_dir::{self, PartialError, nearest},
    source::survey::Survey,
    synapse::config::Deployment,
};

/// A dump in the plan of a migration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dump {
    /// One will be made.
    New(PathBuf),
    /// One that was made earlier is taken, if it holds as much as is asked for.
    Reused(PathBuf, Extent),
}

/// Where things are to be.
#[derive(Clone, Debug)]
pub struct Target {
    /// Conduit's database.
    pub database: PathBuf,
    /// Conduit's media directory, in the database's or elsewhere.
    pub media: PathBuf,
    /// The dump.
    pub dump: Dump,
    /// The report.
    pub report: PathBuf,
    /// The name in Conduit's configuration.
    pub server_name: Option<String>,
    /// The rest of Conduit's configuration.
    pub service: Option<ConduitService>,
    /// Conduit's program, if the operator names it.
    pub binary: Option<PathBuf>,
    /// The server that the database is for.
    pub dialect: Dialect,
}

pub(super) fn check(
    checks: &mut Checks,
    target: &Target,
    survey: Option<&Survey>,
    deployment: Option<&Deployment>,
) {
    if let (Some(configured), Some(survey)) = (&target.server_name, survey)
        && *configured != survey.server_name
    {
        let text = format!("is configured, Synapse's name is `{}`", survey.server_name);
        checks.found(&codes::CONDUIT_NAME, format!("`{configured}`"), text);
    }
    place(checks, &target.database, &codes::TARGET_USED);
    match &target.dump {
        Dump::New(path) => place(checks, path, &codes::DUMP_USED),
        Dump::Reused(path, extent) => reused(checks, path, *extent, survey),
    }
    if target.database.starts_with(&target.media) {
        let subject = target.media.display().to_string();
        checks.found(&codes::MEDIA_USED, subject, "contains the database's directory");
    } else if !target.has_media_inside() {
        place(checks, &target.media, &codes::MEDIA_USED);
    }
    writable(checks, nearest(&target.report));
    if target.dialect == Dialect::Conduit {
        installed::check(checks, target.binary.as_deref());
    }
    if let Some(service) = &target.service {
        self::service(checks, service, deployment);
        services::check(checks, service, deployment);
    }
}

impl Target {
    /// Whether the media directory is in the database's, and appears with that.
    pub(super) fn has_media_inside(&self) -> bool {
        self.media.starts_with(&self.database)
    }
}

/// A directory that will be made.
fn place(checks: &mut Checks, path: &Path, used: &codes::Code) {
    let subject = path.display().to_string();
    match atomic_dir::check(path) {
        Ok(()) => {}
        Err(PartialError::NotEmpty { .. }) => {
            // The code says what to do; so do the error's words.
            checks.found(used, subject, "is not empty");
            return;
        }
        Err(PartialError::Foreign { path }) => {
            let text = format!("`{}` was not made by the importer", path.display());
            checks.found(&codes::TARGET_IN_THE_WAY, subject, text);
            return;
        }
        Err(PartialError::Io { path, source })
            if source.kind() == io::ErrorKind::PermissionDenied =>
        {
            checks.found(&codes::TARGET_RIGHTS, path.display().to_string(), "permission denied");
            return;
        }
        // Its own words say what to do, which is not to move something.
        Err(error) => {
            let finding = codes::TARGET_IN_THE_WAY.of(subject, error.to_string());
            checks.add(Finding { remedy: "".into(), ..finding });
            return;
        }
    }
    // Run as one that writes: the last step of a run must not be the first one to fail.
    if let Err(error) = atomic_dir::rehearse(path) {
        checks.found(&codes::TARGET_RIGHTS, subject, chain(&error));
    }
}

/// A directory that something will be made in.
fn writable(checks: &mut Checks, directory: &Path) {
    // Whoever may write cannot be told from the mode alone: file systems are mounted read-only, and have other rules.
    let probe = tempfile::Builder::new().prefix(".importer-check").tempdir_in(directory);
    if let Err(error) = probe.and_then(tempfile::TempDir::close) {
        let said = match error.kind() {
            io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
            kind => kind.to_string(),
        };
        checks.found(&codes::TARGET_RIGHTS, directory.display().to_string(), said);
    }
}

/// A dump that was made earlier.
fn reused(checks: &mut Checks, path: &Path, asked: Extent, survey: Option<&Survey>) {
    let subject = path.display().to_string();
    let manifest = match DumpReader::peek(path) {
        Ok(manifest) => manifest,
        Err(error) => {
            checks.found(&codes::DUMP_OTHER, subject, error.to_string());
            return;
        }
    };
    if let Some(made) = manifest.source.extent.filter(|made| *made != asked) {
        let text = format!("was made with {made}, not with {asked}");
        checks.found(&codes::DUMP_OTHER, subject, text);
        return;
    }
    let Some(survey) = survey else { return };
    if manifest.server_name != survey.server_name {
        let text = format!("is of `{}`", manifest.server_name);
        checks.found(&codes::DUMP_OTHER, subject, text);
    } else if survey.last_activity_ts > manifest.created_ts {
        let later = survey.last_activity_ts.saturating_sub(manifest.created_ts);
        let text = format!("somebody used Synapse {} s after the dump", later.div_ceil(1000));
        checks.found(&codes::DUMP_OLD, subject, text);
    }
}

fn service(checks: &mut Checks, service: &ConduitService, deployment: Option<&Deployment>) {
    let is_synapses = deployment.is_some_and(|deployment| {
        deployment.listeners.iter().any(|listener| listener.port() == service.listen.port())
    });
    if !is_synapses
        && let Err(error) = TcpListener::bind(service.listen)
        && error.kind() == io::ErrorKind::AddrInUse
    {
        checks.found(&codes::PORT, service.listen.to_string(), "is in use");
    }
    if service.empty_token {
        checks.found(&codes::NO_START, service.named("registration_token"), "is empty");
    }
    for file in service.tls.iter().filter(|file| !file.is_file()) {
        checks.found(&codes::NO_START, "`tls`", format!("`{}` is no file", file.display()));
    }
    if service.registration && deployment.is_some_and(|deployment| !deployment.registration) {
        checks.found(&codes::REGISTRATION_OPEN, service.named("allow_registration"), "is on");
    }
    if !service.federation {
        checks.found(&codes::NO_FEDERATION, service.named("allow_federation"), "is off");
    }
    let theirs = deployment.map_or(0, |synapse| synapse.max_upload_bytes);
    if theirs > service.max_request_bytes {
        let text = format!("{} bytes, {theirs} on Synapse", service.max_request_bytes);
        checks.found(&codes::UPLOAD_SIZE, service.named("max_request_size"), text);
    }
}
