//! `importer check`.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use clap::Args;
use serde::Serialize;

use super::{
    Global, block_on, output,
    source::SourceArguments,
    target::{Target, TargetArguments},
};
use crate::{
    check::{self, Checks},
    config::conduit::ConduitService,
    findings::{self, Finding, codes},
    report,
    synapse::{SourceError, survey::Survey},
};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    source: SourceArguments,
    /// Where Conduit's database will be
    #[arg(long, value_name = "DIR", conflicts_with = "conduit_config")]
    database: Option<PathBuf>,
    /// Conduit's configuration, which names the database, its engine and the server
    #[arg(long, value_name = "FILE")]
    conduit_config: Option<PathBuf>,
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
    #[arg(long, value_name = "CODE", value_parser = acceptable)]
    accept: Vec<String>,
}

/// What `check` prints.
#[derive(Debug, Serialize)]
struct Outcome {
    findings: Vec<Finding>,
}

impl Arguments {
    pub(super) fn run(&self, global: Global) -> anyhow::Result<u8> {
        let accepted = self.accepted.codes();
        let target = TargetArguments::of(self.database.clone(), self.conduit_config.clone(), None);
        let place = target.map(|target| {
            place(&target, |target| {
                let dump = check::Dump::New(dump_path(self.dump.as_deref(), target));
                (dump, report::beside(&target.directory))
            })
        });
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
    pub(super) fn codes(&self) -> BTreeSet<String> {
        self.accept.iter().cloned().collect()
    }
}

fn acceptable(code: &str) -> Result<String, String> {
    match codes::find(code) {
        Some(entry) if entry.acceptable => Ok(code.to_owned()),
        Some(_) => Err("such findings can't be accepted".into()),
        None => Err("there is no such code".into()),
    }
}

/// Where dump, database and report are to be; the finding says why Conduit's configuration can't be read.
pub(super) fn place(
    arguments: &TargetArguments,
    beside: impl FnOnce(&Target) -> (check::Dump, PathBuf),
) -> Result<check::Target, Box<Finding>> {
    let refused = |error: &(dyn std::error::Error + 'static)| {
        Box::new(codes::CONDUIT_CONFIG.of("Conduit's configuration", check::chain(error)))
    };
    let target = arguments.resolve().map_err(|error| refused(error.as_ref()))?;
    let service = arguments.config().map(ConduitService::read).transpose();
    let (dump, report) = beside(&target);
    Ok(check::Target {
        dump,
        report,
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

/// Where the dump is: where the operator says, or else beside the database, with `.dump` added.
pub(super) fn dump_path(said: Option<&Path>, target: &Target) -> PathBuf {
    said.map_or_else(
        || {
            let mut name = target.directory.as_os_str().to_owned();
            name.push(".dump");
            name.into()
        },
        Path::to_owned,
    )
}
