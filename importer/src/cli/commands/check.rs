//! `importer check`.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use clap::Args;
use serde::Serialize;

use super::import;
use crate::{
    check,
    check::{Checks, Plan},
    cli::{
        arguments::{
            media::MediaArguments,
            source::{Configuration, SourceArguments},
            target::{Target, TargetOptions},
        },
        block_on, exit, output,
    },
    findings,
    findings::{Finding, codes},
    fs::atomic_dir::{normal, suffixed},
    source::{SourceError, survey::Survey},
    synapse::config::ConfigError,
};

/// At the end of the help.
pub(in crate::cli) const EXAMPLE: &str = "\
Example:
  importer check --synapse-config /etc/matrix-synapse/homeserver.yaml \\
      --synapse-config /etc/matrix-synapse/conf.d --conduit-config /etc/matrix-conduit/conduit.toml";

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    source: SourceArguments,
    #[command(flatten)]
    target: TargetOptions,
    /// Where the dump will be [default: the database's directory with `.dump` added]
    #[arg(long, value_name = "DIR")]
    dump: Option<PathBuf>,
    /// Check that the dump which is there can be taken, as `migrate --reuse-dump` would
    #[arg(long)]
    reuse_dump: bool,
    #[command(flatten)]
    media: MediaArguments,
    #[command(flatten)]
    report: import::ReportArguments,
    #[command(flatten)]
    accepted: Accepted,
    #[command(flatten)]
    output: output::Form,
}

/// Findings that the operator accepts.
#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct Accepted {
    /// Take findings of this code for warnings, if they can be accepted; may be given several times
    #[arg(long, value_name = "CODE", value_parser = acceptable)]
    accept: Vec<String>,
}

/// What `check` prints.
#[derive(Debug, Serialize)]
struct Outcome {
    /// [`output::VERSION`].
    version: u32,
    findings: Vec<Finding>,
    /// How much there is to move, and what that needs; none if Synapse could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    plan: Option<Plan>,
}

impl Arguments {
    pub(in crate::cli) fn run(&self) -> anyhow::Result<u8> {
        self.source.named()?;
        let accepted = self.accepted.codes();
        let place = self.target.is_said().then(|| {
            let target = self.target.resolve().map_err(|error| Box::new(unusable(&error)))?;
            let dump = dump_path(self.dump.as_deref(), &target);
            let dump = planned(dump, self.reuse_dump, &self.source);
            Ok(place(&target, dump, self.report.directory(&target)))
        });
        let configuration = self.source.configuration(self.media.media_store.as_deref());
        let looked = run(&self.source, configuration.as_ref().map(Option::as_ref), place);
        let mut outcome = Outcome {
            version: output::VERSION,
            findings: looked.checks.finish(),
            plan: looked.plan,
        };
        findings::accept(&mut outcome.findings, &accepted);
        output::print(self.output.format, &outcome, |out, outcome| {
            output::findings(out, &outcome.findings)?;
            outcome.plan.as_ref().map_or(Ok(()), |plan| write!(out, "\n{plan}"))
        })?;
        Ok(exit_code(&outcome.findings, looked.is_unreadable))
    }
}

/// What the checks of a run found.
pub(in crate::cli) struct Looked {
    /// Findings.
    pub(in crate::cli) checks: Checks,
    /// How much there is to move, if Synapse could be read.
    pub(in crate::cli) plan: Option<Plan>,
    /// Whether Synapse could not be read at all.
    pub(in crate::cli) is_unreadable: bool,
}

/// The exit code of checks: a Synapse that can't be read is not one of which something was found.
pub(in crate::cli) fn exit_code(findings: &[Finding], is_unreadable: bool) -> u8 {
    if is_unreadable { exit::SOURCE } else { exit::of_findings(findings) }
}

impl Accepted {
    /// The codes.
    pub(in crate::cli) fn codes(&self) -> BTreeSet<String> {
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

/// The finding that an unusable configuration of Conduit is.
fn unusable(error: &anyhow::Error) -> Finding {
    codes::CONDUIT_CONFIG.of("`--conduit-config`, `--conduit-env`", check::chain(error.as_ref()))
}

/// The plan for a dump: an earlier one is taken if that is asked for and it is there.
pub(in crate::cli) fn planned(path: PathBuf, reuse: bool, source: &SourceArguments) -> check::Dump {
    if reuse && path.join("manifest.json").is_file() {
        check::Dump::Reused(path, source.extent())
    } else {
        check::Dump::New(path)
    }
}

/// Where everything is to be.
pub(in crate::cli) fn place(target: &Target, dump: check::Dump, report: PathBuf) -> check::Target {
    check::Target {
        dump,
        report,
        database: target.directory.clone(),
        media: target.media.path().to_owned(),
        server_name: target.server_name.clone(),
        service: target.service.clone(),
    }
}

/// Checks whatever can be checked.
pub(in crate::cli) fn run(
    source: &SourceArguments,
    configuration: Result<Option<&Configuration>, &ConfigError>,
    place: Option<Result<check::Target, Box<Finding>>>,
) -> Looked {
    let mut checks = Checks::default();
    let mut is_unreadable = false;
    let (mut survey, mut surroundings) = (None, None);
    match configuration {
        Ok(configuration) => {
            if let Some(Configuration { config, surroundings }) = configuration {
                checks.configuration(config, surroundings);
            }
            match look(source, configuration) {
                Ok(found) => {
                    checks.survey(&found, configuration.map(|configuration| &configuration.config));
                    survey = Some(found);
                }
                Err(error) => {
                    is_unreadable = true;
                    checks.add(unreadable(&error));
                }
            }
            surroundings = configuration.map(|configuration| &configuration.surroundings);
        }
        Err(error) => {
            is_unreadable = true;
            for finding in check::configuration_errors(error) {
                checks.add(finding);
            }
        }
    }
    let mut plan = survey.as_ref().map(|survey| check::plan(survey, source.history));
    match place {
        Some(Ok(target)) => {
            let text = "keep tokens from Synapse for as long as they live";
            checks.add(codes::OLD_TOKENS.of("clients", text));
            let disks = checks.target(&target, survey.as_ref(), surroundings, source.history);
            plan = plan.map(|plan| Plan { disks, ..plan });
        }
        Some(Err(finding)) => checks.add(*finding),
        None => {}
    }
    Looked { checks, plan, is_unreadable }
}

fn look(source: &SourceArguments, configuration: Option<&Configuration>) -> anyhow::Result<Survey> {
    block_on(async {
        let mut source = source.open(configuration).await?;
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
pub(in crate::cli) fn dump_path(said: Option<&Path>, target: &Target) -> PathBuf {
    said.map_or_else(|| suffixed(&target.directory, ".dump"), normal)
}
