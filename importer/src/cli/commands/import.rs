//! `importer import`.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
};

use clap::Args;
use serde::Serialize;
use tracing::warn;

use super::{dump, verify::everything};
use crate::{
    check::{census, chain},
    cli::{
        Global,
        arguments::{
            media::{self, MediaArguments, NewMedia},
            target::{Target, TargetArguments},
        },
        exit, now_ms, output,
    },
    conduit::store::{KvStore, Mode, Open},
    counted::grouped,
    dump::DumpReader,
    findings::{Finding, codes},
    fs::atomic_dir::{Partial, normal, unfinished},
    import::{self, ImportError, Imported},
    progress::{Progress, Stopwatch},
    report::{self, Later, Prepared, Report, Todo, TreeFacts, Verdict},
    tally::Tally,
    verify::{Files, StateComparison},
};

/// At the end of the help.
pub(in crate::cli) const EXAMPLE: &str = "\
Example:
  importer import --dump /var/backups/synapse-dump --conduit-config /etc/matrix-conduit/conduit.toml";

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// The dump
    #[arg(long, value_name = "DIR")]
    dump: PathBuf,
    #[command(flatten)]
    target: TargetArguments,
    #[command(flatten)]
    media: MediaArguments,
    #[command(flatten)]
    report: ReportArguments,
    #[command(flatten)]
    output: output::Form,
}

/// Where the report goes.
#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct ReportArguments {
    /// Directory for report.html, report.json and its tables as CSV [default: the database's directory with `.report` added]
    #[arg(long = "report", value_name = "DIR")]
    directory: Option<PathBuf>,
}

impl ReportArguments {
    /// The directory.
    pub(in crate::cli) fn directory(&self, target: &Target) -> PathBuf {
        let said = self.directory.as_deref().map(normal);
        said.unwrap_or_else(|| report::beside(&target.directory))
    }
}

/// What an import printed.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct Outcome {
    /// [`output::VERSION`].
    pub(in crate::cli) version: u32,
    /// How it ended.
    pub(in crate::cli) verdict: Verdict,
    /// The same in one sentence.
    pub(in crate::cli) headline: String,
    /// Where the database is; `None` if it was not good enough to get its name.
    pub(in crate::cli) database: Option<PathBuf>,
    /// What moved.
    pub(in crate::cli) tally: Tally,
    /// What the operator must know.
    pub(in crate::cli) findings: Vec<Finding>,
    /// Rows that were read back and compared.
    pub(in crate::cli) rows_verified: u64,
    /// Where the report is; `None` if it could not be written, which is in the log.
    pub(in crate::cli) report: Option<PathBuf>,
    /// History that is left for later.
    pub(in crate::cli) later: Later,
    /// What the operator has to do, in this order.
    pub(in crate::cli) todo: Vec<Todo>,
}

impl Arguments {
    pub(in crate::cli) fn run(&self, global: Global) -> anyhow::Result<u8> {
        let target = self.target.resolve()?;
        let run = Run {
            target: &target,
            media: &self.media,
            report: &self.report.directory(&target),
            checked: None,
            open: global.open,
            progress: global.progress(),
            steps: (1, 2),
            synapse_config: &[],
            map_path: &[],
        };
        let outcome = run.import(&self.dump, Stopwatch::start())?;
        output::print(self.output.format, &outcome, |out, outcome| outcome.text(out, &target))?;
        Ok(outcome.exit_code())
    }
}

impl Outcome {
    pub(in crate::cli) fn text(
        &self,
        out: &mut dyn std::io::Write,
        target: &Target,
    ) -> std::io::Result<()> {
        output::tally(out, &self.tally, "imported")?;
        writeln!(out)?;
        if !self.findings.is_empty() {
            output::findings(out, &self.findings)?;
        }
        writeln!(out, "\n{}", self.headline)?;
        match &self.database {
            Some(path) => writeln!(
                out,
                "{} rows were read back and are what the dump says. The database is {}.",
                grouped(self.rows_verified),
                path.display()
            )?,
            None => writeln!(
                out,
                "Verification failed, so the database was not put in place. It is kept in {} for inspection; the next run \
                 removes it.",
                unfinished(&target.directory).display()
            )?,
        }
        if let Some(report) = &self.report {
            writeln!(out, "Report: {}", report.join("report.html").display())?;
        }
        writeln!(out, "\nNext:")?;
        for (number, Todo { text, commands }) in (1..).zip(&self.todo) {
            writeln!(out, "{number:>3}. {text}")?;
            for command in commands {
                writeln!(out, "       {command}")?;
            }
        }
        Ok(())
    }

    /// What was accepted is a warning if the database is in its place; if it is not, something blocks.
    pub(in crate::cli) fn exit_code(&self) -> u8 {
        exit::of_findings(&self.findings)
    }
}

/// An import with what is around it.
pub(in crate::cli) struct Run<'a> {
    /// Where the database goes.
    pub(in crate::cli) target: &'a Target,
    /// How media files move.
    pub(in crate::cli) media: &'a MediaArguments,
    /// Where the report goes.
    pub(in crate::cli) report: &'a Path,
    /// Findings of the checks; `None` if nothing was checked.
    pub(in crate::cli) checked: Option<Vec<Finding>>,
    /// What opens the new database.
    pub(in crate::cli) open: Open,
    pub(in crate::cli) progress: Progress,
    /// The number of the import among the steps of the run, and how many there are. Verification is the next one.
    pub(in crate::cli) steps: (u8, u8),
    /// Synapse's configuration, if it is known.
    pub(in crate::cli) synapse_config: &'a [PathBuf],
    /// The options that say where the directories of Synapse's container are.
    pub(in crate::cli) map_path: &'a [String],
}

impl Run<'_> {
    /// Imports a dump: into `<target>.partial`, verified there, then renamed; then reported.
    pub(in crate::cli) fn import(
        self,
        directory: &Path,
        mut watch: Stopwatch,
    ) -> anyhow::Result<Outcome> {
        let Self {
            target,
            media,
            report,
            checked,
            open,
            progress,
            steps,
            synapse_config,
            map_path,
        } = self;
        let (first, of) = steps;
        let importing = progress.step(first, of, "import");
        let verifying = progress.step(first.saturating_add(1), of, "verify");
        let partial = Partial::create(&target.directory)?;
        let dump = dump::open(directory, importing)?;
        target.check_server_name(&dump.manifest().server_name)?;
        watch.lap("check the dump's files");
        let media = NewMedia::create(media, target, partial.path())?;
        let store = open(target.backend, partial.path(), Mode::Create)?;
        let imported = fill(&dump, store, &media, importing)?;
        watch.lap("import");
        let store = open(target.backend, partial.path(), Mode::Read)?;
        let files = Files { directory: media.directory(), store: media.target.store.as_ref() };
        let skipped = &imported.tally.skipped;
        let verified =
            everything(store.as_ref(), &dump, files, skipped, StateComparison::Sample, verifying)?;
        drop(store);
        watch.lap("verify");
        let passed = exit::of_findings(&verified.findings) != exit::BLOCKING;
        let mut findings = imported.findings;
        if let Some(checked) = checked {
            findings.retain(|finding| !codes::SAID_BY_CHECKS.contains(&finding.code));
            let has_census = dump.manifest().census.is_some();
            findings.extend(
                checked
                    .into_iter()
                    .filter(|finding| !(has_census && census::is_code(finding.code))),
            );
        }
        if let Some(census) = &dump.manifest().census {
            findings.extend(census::findings(census));
        }
        findings.extend(verified.findings);
        findings.extend(media::retention(target));
        findings.sort();
        let listen = target.service.as_ref().map(|service| reached(service.listen));
        let facts = report::Outcome {
            media: report::MediaFacts {
                directory: target.media.path().to_owned(),
                uploaded: target.uploads_media,
            },
            listen,
            database: report::DatabaseFacts {
                directory: target.directory.clone(),
                backend: target.backend.to_string(),
                version: import::VERSION,
                complete: passed,
                trees: verified
                    .rows
                    .iter()
                    .map(|(&name, &rows)| {
                        let bytes = verified.bytes.get(name).copied().unwrap_or(0);
                        (name, TreeFacts { rows, bytes })
                    })
                    .collect(),
            },
            imported: &imported.tally,
            findings: &findings,
            steps: watch.steps(),
            made_ts: now_ms(),
            program: &output::program(),
            synapse_config,
            map_path,
        };
        let made = Report::of(&dump, facts)?;
        let prepared = made.prepare(report);
        let (database, written) = if passed {
            // The report says that the database is complete, so it gets its name after it; what may well fail comes before.
            let prepared = prepared?;
            media.finish()?;
            (Some(partial.finish()?), prepared.finish())
        } else {
            (None, prepared.and_then(Prepared::finish))
        };
        if let Err(error) = &written {
            warn!("{}", chain(error));
        }
        Ok(Outcome {
            version: output::VERSION,
            verdict: made.verdict,
            headline: made.headline,
            database,
            tally: imported.tally,
            findings,
            rows_verified: verified.rows.values().sum(),
            report: written.is_ok().then(|| report.to_owned()),
            later: made.later,
            todo: made.todo,
        })
    }
}

/// How a server that listens there is reached from this machine.
fn reached(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

fn fill(
    dump: &DumpReader,
    mut store: Box<dyn KvStore>,
    media: &NewMedia,
    progress: Progress,
) -> Result<Imported, ImportError> {
    import::import(dump, store.as_mut(), Some(&media.target), &progress)
}
