//! Check, dump, import and verify, as `importer migrate` runs them, in this process.

use std::{
    fs,
    path::Path,
    sync::mpsc::{RecvTimeoutError, channel},
    thread,
    time::Duration,
};

use importer::{
    check::{self, Checks},
    cli::exit,
    conduit::store::memory::MemoryStore,
    dump::{DumpReader, Extent, census::Census},
    findings::{self, Finding, Severity, codes},
    fs::{ContentDirectory, Layout},
    import::{self, MediaTarget},
    progress::Progress,
    source::{Source as _, SourceError, dump::dump},
    synapse::{
        config::{Deployment, SynapseConfig},
        database::DatabaseSource,
    },
    tally::Tally,
    verify::{self, Files, StateComparison},
};

use super::database::Database;

/// The time of all cases, later than all that the laboratory tells.
const NOW: u64 = 4_000_000_000_000;

/// What takes longer hangs.
const PATIENCE: Duration = Duration::from_mins(2);

/// How a case ended.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Migrated and verified.
    Moved,
    /// Refused by the checks.
    Refused,
    /// The engine refuses the change.
    Impossible,
    /// What must not be.
    Failed(String),
}

/// Migrates the database with a change.
pub(super) fn attempt(database: &Database, sql: &[String]) -> Outcome {
    let config = match database.with(sql) {
        Ok(config) => config,
        Err(_refused) => return Outcome::Impossible,
    };
    let deployment = database.deployment.clone();
    let scratch = tempfile::tempdir_in(database.scratch()).unwrap();
    let place = scratch.path().to_owned();
    let (sender, ended) = channel();
    let worker = thread::spawn(move || {
        let result = migrate(&config, &deployment, &place);
        let _nobody_waits_any_more = sender.send(());
        result
    });
    if ended.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
        return Outcome::Failed("it does not end".into());
    }
    match worker.join() {
        Ok(Ok(true)) => Outcome::Moved,
        Ok(Ok(false)) => Outcome::Refused,
        Ok(Err(why)) => Outcome::Failed(why),
        Err(panic) => {
            let said = panic.downcast_ref::<String>().cloned();
            Outcome::Failed(format!("panicked: {}", said.unwrap_or_default()))
        }
    }
}

/// Whether the checks let it be done; an error is what a migration may not do after that.
fn migrate(
    config: &SynapseConfig,
    deployment: &Deployment,
    scratch: &Path,
) -> Result<bool, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let survey = runtime.block_on(async {
        let mut source = DatabaseSource::open(config, Extent::FULL, NOW).await?;
        let survey = source.survey().await;
        source.close().await?;
        survey
    });
    let mut checks = Checks::default();
    checks.configuration(config, deployment);
    match &survey {
        Ok(survey) => checks.survey(survey, Some(config)),
        Err(error) => checks.add(check::source_error(error)),
    }
    let mut found = checks.finish();
    if ![0, 10, 11].contains(&exit::of_findings(&found)) {
        return Err(format!("exit code {} of check", exit::of_findings(&found)));
    }
    if blocking(&found).any(|finding| exit::of_findings(std::slice::from_ref(finding)) != 10) {
        return Err("an error does not stop".into());
    }
    let all = codes::CHECKS.iter().filter(|code| code.acceptable).map(|code| code.code.to_owned());
    findings::accept(&mut found, &all.collect());
    if exit::of_findings(&found) == 10 {
        return Ok(false);
    }
    let directory = scratch.join("dump");
    let never = std::future::pending();
    let manifest = runtime.block_on(async {
        let mut source =
            DatabaseSource::open(config, Extent::FULL, NOW).await.map_err(SourceError::from)?;
        dump(&mut source, &directory, None, NOW, &Progress::Hidden, never).await
    });
    let manifest = manifest.map_err(|error| format!("dump: {}", chain(&error)))?;
    balanced("dump", &manifest.tally)?;
    if let Some(census) = manifest.census.as_ref().filter(|census| !census.meets()) {
        return Err(format!("the census does not meet: {}", unmet(census)));
    }
    let dump =
        DumpReader::open(&directory, |_| {}).map_err(|error| format!("dump: {}", chain(&error)))?;
    let mut store = MemoryStore::default();
    let media = scratch.join("media");
    fs::create_dir(&media).unwrap();
    let media = MediaTarget {
        directory: ContentDirectory::new(media, Layout::default()),
        store: None,
        link: false,
        prepared: None,
    };
    let imported = import::import(&dump, &mut store, Some(&media), &Progress::Hidden)
        .map_err(|error| format!("import: {}", chain(&error)))?;
    balanced("import", &imported.tally)?;
    let skipped = &imported.tally.skipped;
    let files = Files { directory: &media.directory, store: None, linked: None };
    let hidden = Progress::Hidden;
    let verified = [
        verify::rows(&store, &dump, skipped, StateComparison::All, &hidden),
        verify::media(&store, Some(&dump), files, skipped, &hidden),
    ];
    for verified in verified {
        let verified = verified.map_err(|error| format!("verify: {}", chain(&error)))?;
        let mut errors: Vec<_> = blocking(&verified.findings).map(ToString::to_string).collect();
        let number = errors.len();
        errors.truncate(3);
        if number > 0 {
            return Err(format!("verify has {number} errors: {}", errors.join(" | ")));
        }
    }
    Ok(true)
}

fn blocking(findings: &[Finding]) -> impl Iterator<Item = &Finding> {
    findings.iter().filter(|finding| finding.severity == Severity::Blocking)
}

/// The tables whose rows are not all accounted for.
fn unmet(census: &Census) -> String {
    let tables = census.tables.iter().filter(|table| table.unaccounted != 0);
    let tables = tables.map(|table| format!("{} ({})", table.table, table.unaccounted));
    tables.collect::<Vec<_>>().join(", ")
}

/// All that was read was written or listed.
fn balanced(step: &str, tally: &Tally) -> Result<(), String> {
    let unbalanced = tally.unbalanced();
    if unbalanced.is_empty() {
        Ok(())
    } else {
        Err(format!("{step}: {unbalanced:?} are not accounted for"))
    }
}

fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
