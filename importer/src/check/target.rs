//! Conduit's configuration, and the places where dump and database are to be.

use std::{
    io,
    net::TcpListener,
    path::{Path, PathBuf},
};

use super::Checks;
use crate::{
    config::{conduit::ConduitService, synapse::Surroundings},
    dump::DumpReader,
    findings::codes,
    partial::{self, PartialError},
    synapse::{Extent, survey::Survey},
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
    /// The dump.
    pub dump: Dump,
    /// The report.
    pub report: PathBuf,
    /// The name in Conduit's configuration.
    pub server_name: Option<String>,
    /// The rest of Conduit's configuration.
    pub service: Option<ConduitService>,
}

pub(super) fn check(
    checks: &mut Checks,
    target: &Target,
    survey: Option<&Survey>,
    surroundings: Option<&Surroundings>,
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
    writable(checks, nearest(&target.report));
    if let Some(service) = &target.service {
        self::service(checks, service, surroundings);
    }
}

/// A directory that will be made.
fn place(checks: &mut Checks, path: &Path, used: &codes::Code) {
    let subject = path.display().to_string();
    match partial::check(path) {
        Ok(()) => {}
        Err(error @ PartialError::NotEmpty { .. }) => {
            checks.found(used, subject, error.to_string());
            return;
        }
        Err(error) => {
            checks.found(&codes::TARGET_IN_THE_WAY, subject, error.to_string());
            return;
        }
    }
    writable(checks, nearest(path.parent().unwrap_or(path)));
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
        let text = format!("was made with {made}, and {asked} is asked for");
        checks.found(&codes::DUMP_OTHER, subject, text);
        return;
    }
    let Some(survey) = survey else { return };
    if manifest.server_name != survey.server_name {
        let text = format!("is of `{}`", manifest.server_name);
        checks.found(&codes::DUMP_OTHER, subject, text);
    } else if survey.last_activity_ts > manifest.created_ts {
        let later = survey.last_activity_ts.saturating_sub(manifest.created_ts);
        let text = format!("somebody was active {} s after it", later.div_ceil(1000));
        checks.found(&codes::DUMP_OLD, subject, text);
    }
}

/// A path itself, or the nearest directory above that is there.
pub(super) fn nearest(path: &Path) -> &Path {
    let here = Path::new(".");
    let existing = path.ancestors().find(|path| path.exists());
    existing.filter(|path| !path.as_os_str().is_empty()).unwrap_or(here)
}

fn service(checks: &mut Checks, service: &ConduitService, surroundings: Option<&Surroundings>) {
    let is_synapses = surroundings.is_some_and(|surroundings| {
        surroundings.listeners.iter().any(|listener| listener.port() == service.listen.port())
    });
    if !is_synapses
        && let Err(error) = TcpListener::bind(service.listen)
        && error.kind() == io::ErrorKind::AddrInUse
    {
        checks.found(&codes::PORT, service.listen.to_string(), "is in use");
    }
    if service.registration && surroundings.is_some_and(|surroundings| !surroundings.registration) {
        checks.found(&codes::REGISTRATION_OPEN, "`allow_registration`", "is on");
    }
    if !service.federation {
        checks.found(&codes::NO_FEDERATION, "`allow_federation`", "is off");
    }
    if surroundings.is_some_and(|synapse| synapse.max_upload_bytes > service.max_request_bytes) {
        let text = format!("{} bytes", service.max_request_bytes);
        checks.found(&codes::UPLOAD_SIZE, "`max_request_size`", text);
    }
}
