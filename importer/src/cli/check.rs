//! `importer check`.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use anyhow::bail;
use clap::Args;
use serde::Serialize;

use super::{Global, block_on, output, source::SourceArguments, target::TargetArguments};
use crate::{
    check::{self, Checks},
    config::conduit::ConduitService,
    findings::{self, Finding, codes},
    synapse::{SourceError, survey::Survey},
};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    source: SourceArguments,
    #[command(flatten)]
    target: Option<TargetArguments>,
    /// Where the dump will be [default: the database's directory with `.dump` added]
    #[arg(long, value_name = "DIR")]
    dump: Option<PathBuf>,
    #[command(flatten)]
    accepted: Accepted,
}

/// Findings that the operator accepts.
#[derive(Clone, Debug, Args)]
pub(super) struct Accepted {
    /// Take findings of this code for warnings, if they can be accepted; may be given several times
    #[arg(long, value_name = "CODE")]
    accept: Vec<String>,
}

/// What `check` prints.
#[derive(Debug, Serialize)]
struct Outcome {
    findings: Vec<Finding>,
}

impl Arguments {
    pub(super) fn run(&self, global: Global) -> anyhow::Result<u8> {
        let accepted = self.accepted.codes()?;
        let place = self.target.as_ref().map(|target| place(target, self.dump.as_deref()));
        let mut outcome = Outcome { findings: run(&self.source, place).finish() };
        findings::accept(&mut outcome.findings, &accepted);
        output::print(global.format, &outcome, |out, outcome| {
            output::findings(out, &outcome.findings)
        })?;
        Ok(findings::exit_code(&outcome.findings))
    }
}

impl Accepted {
    /// The codes.
    ///
    /// # Errors
    ///
    /// If one does not exist or can't be accepted.
    pub(super) fn codes(&self) -> anyhow::Result<BTreeSet<String>> {
        for code in &self.accept {
            match codes::find(code) {
                Some(entry) if entry.acceptable => {}
                Some(_) => bail!("`--accept {code}`: such findings can't be accepted"),
                None => bail!("`--accept {code}`: there is no such code"),
            }
        }
        Ok(self.accept.iter().cloned().collect())
    }
}

/// Where dump and database are to be; the finding says why Conduit's configuration can't be read.
pub(super) fn place(
    arguments: &TargetArguments,
    dump: Option<&Path>,
) -> Result<check::Target, Box<Finding>> {
    let refused = |error: &(dyn std::error::Error + 'static)| {
        Box::new(codes::CONDUIT_CONFIG.of("Conduit's configuration", check::chain(error)))
    };
    let target = arguments.resolve().map_err(|error| refused(error.as_ref()))?;
    let service = arguments.config().map(ConduitService::read).transpose();
    Ok(check::Target {
        dump: Some(dump.map_or_else(|| default_dump(&target.directory), Path::to_owned)),
        database: target.directory,
        server_name: target.server_name,
        service: service.map_err(|error| refused(&error))?,
    })
}

/// Checks whatever can be checked.
pub(super) fn run(
    source: &SourceArguments,
    place: Option<Result<check::Target, Box<Finding>>>,
) -> Checks {
    let mut checks = Checks::default();
    let read = source.config().and_then(|config| Ok((config, source.surroundings()?)));
    let (survey, surroundings) = match read {
        Ok((config, surroundings)) => {
            if let (Some(config), Some(surroundings)) = (&config, &surroundings) {
                checks.configuration(config, surroundings);
            }
            let survey = look(source);
            match &survey {
                Ok(survey) => checks.survey(survey, config.as_ref()),
                Err(error) => checks.add(unreadable(error)),
            }
            (survey.ok(), surroundings)
        }
        Err(error) => {
            checks.add(check::configuration_error(&error));
            (None, None)
        }
    };
    match place {
        Some(Ok(target)) => {
            checks.target(&target, survey.as_ref(), surroundings.as_ref(), source.history);
        }
        Some(Err(finding)) => checks.add(*finding),
        None => {}
    }
    checks
}

fn look(source: &SourceArguments) -> anyhow::Result<Survey> {
    block_on(async {
        let mut source = source.open().await?;
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

/// Where a dump goes by default.
pub(super) fn default_dump(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(".dump");
    name.into()
}
