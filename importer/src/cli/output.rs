//! What the commands print.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    io::{self, Write},
};

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::paint::Paint;
pub(super) use crate::migration::VERSION;
use crate::{
    conduit::schema::dialect::Dialect,
    counted::{count, counted, grouped},
    dump::format::Since,
    findings::{Finding, Severity, codes, remedies},
    fs::hints,
    migration::{Blocked, Hint},
    progress,
    tally::{Kind, Tally},
};

/// Items named for each reason in text output; `--format json` names all.
const NAMED: usize = 5;

/// In which form a command prints.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Form {
    /// Form of what is written to standard output
    #[arg(long, value_enum, default_value = "text", env = "IMPORTER_FORMAT")]
    pub(super) format: Format,
}

/// Forms of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people
    Text,
    /// For machines: one JSON document
    Json,
}

/// Prints a result to standard output: as one JSON document, or as the text that `text` writes.
pub(super) fn print<T: Serialize>(
    format: Format,
    value: &T,
    text: impl FnOnce(&mut dyn Write, &T) -> io::Result<()>,
) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    let written = match format {
        Format::Text => text(&mut out, value),
        Format::Json => serde_json::to_writer_pretty(&mut out, value)
            .map_err(io::Error::from)
            .and_then(|()| writeln!(out)),
    };
    match written.and_then(|()| out.flush()) {
        // Whoever reads the pipe has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => Ok(result?),
    }
}

/// Prints the error that ended a command: its chain of causes, without saying anything twice.
pub(super) fn error(error: &anyhow::Error) {
    let hint = error.downcast_ref::<Hint>();
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if hint.is_some_and(|hint| hint.0 == cause) {
            continue;
        }
        if !text.ends_with(&cause) {
            text = if text.is_empty() { cause } else { format!("{text}: {cause}") };
        }
    }
    let paint = Paint::stderr();
    progress::aside(|| {
        let mut err = io::stderr().lock();
        let _nowhere_to_complain = writeln!(err, "{}: {text}", paint.severity(Severity::Blocking));
        if let Some(Blocked { findings }) = error.downcast_ref() {
            let _nowhere_to_complain = painted(&mut err, findings, paint);
        }
        if let Some(Hint(hint)) = hint {
            let _nowhere_to_complain = writeln!(err, "next: {hint}");
        }
    });
}

/// Says what the operator has to know whatever is asked for, on standard error.
pub(super) fn tell(text: &str) {
    progress::aside(|| {
        let _nowhere_to_complain = writeln!(io::stderr().lock(), "{text}");
    });
}

/// Findings by code, the worst first: what a code means, whom it concerns, what to do.
pub(super) fn findings(out: &mut dyn Write, findings: &[Finding]) -> io::Result<()> {
    painted(out, findings, Paint::stdout())
}

fn painted(out: &mut dyn Write, findings: &[Finding], paint: Paint) -> io::Result<()> {
    let mut groups: BTreeMap<(Severity, &str), Vec<&Finding>> = BTreeMap::new();
    for finding in findings {
        groups.entry((finding.severity, finding.code)).or_default().push(finding);
    }
    for ((severity, code), group) in &groups {
        let meaning = group.first().map_or("", |first| &*first.meaning);
        let entry = codes::of(code, *severity);
        writeln!(out, "{} {code}: {meaning}", paint.severity(*severity))?;
        for finding in group.iter().take(NAMED) {
            writeln!(out, "  {}: {}", finding.subject, finding.text)?;
        }
        if let Some(more) = group.len().checked_sub(NAMED).filter(|more| *more > 0) {
            writeln!(out, "  … and {} more (`--format json` names all)", grouped(more))?;
        }
        for remedy in remedies(group).into_iter().take(NAMED) {
            writeln!(out, "  -> {remedy}")?;
        }
        if *severity == Severity::Blocking && entry.is_some_and(|entry| entry.acceptable) {
            writeln!(out, "  -> or accept it: --accept {code}")?;
        }
    }
    let of = |severity: Severity| {
        let number = findings.iter().filter(|finding| finding.severity == severity).count();
        count(number, &severity.to_string())
    };
    let [errors, warnings, notes] = [Severity::Blocking, Severity::Warning, Severity::Note].map(of);
    writeln!(out, "{errors}, {warnings}, {notes}")
}

/// What was taken over from an earlier dump, if one was given.
pub(super) fn since(out: &mut dyn Write, since: Option<&Since>) -> io::Result<()> {
    match since {
        None => Ok(()),
        Some(Since { refused: Some(why), .. }) => {
            writeln!(
                out,
                "\nNothing was taken over from the earlier dump: {why}. Everything was read anew."
            )
        }
        Some(Since { rooms, events, .. }) => writeln!(
            out,
            "\nTaken over from the earlier dump: {} with {}, as nothing has happened in them since.",
            count(*rooms, "room"),
            count(*events, "event")
        ),
    }
}

/// A tally as a table, and what was left out grouped by reason.
pub(super) fn tally(
    out: &mut dyn Write,
    tally: &Tally,
    verb: &str,
    target: Dialect,
) -> io::Result<()> {
    let mut skipped: BTreeMap<Kind, u64> = BTreeMap::new();
    let mut reasons: BTreeMap<(Kind, &str), Vec<&crate::tally::Skip>> = BTreeMap::new();
    for skip in &tally.skipped {
        let count = skipped.entry(skip.kind).or_default();
        *count = count.saturating_add(skip.number);
        reasons.entry((skip.kind, &skip.reason)).or_default().push(skip);
    }
    let kinds: BTreeSet<_> =
        tally.read.keys().chain(tally.written.keys()).chain(skipped.keys()).collect();
    writeln!(out, "{:<20} {:>10} {:>10} {:>10}", "", "read", verb, "left out")?;
    for kind in kinds {
        let of = |counts: &BTreeMap<Kind, u64>| counts.get(kind).copied().unwrap_or(0);
        writeln!(
            out,
            "{:<20} {:>10} {:>10} {:>10}",
            kind.name(),
            grouped(of(&tally.read)),
            grouped(of(&tally.written)),
            grouped(of(&skipped))
        )?;
    }
    for ((kind, reason), skips) in reasons {
        let number = skips.iter().fold(0, |sum: u64, skip| sum.saturating_add(skip.number));
        let why = skips.first().and_then(|skip| skip.why());
        let why = why.map_or(Cow::Borrowed(reason), |why| target.words(why.words));
        writeln!(out, "\n{} left out: {why}", counted(number, kind.words()))?;
        for skip in skips.iter().take(NAMED) {
            writeln!(out, "  {}: {}", skip.item, skip.detail)?;
        }
        if let Some(more) = skips.len().checked_sub(NAMED).filter(|more| *more > 0) {
            writeln!(out, "  … and {} more (`--format json` names all)", grouped(more))?;
        }
    }
    let unbalanced = tally.unbalanced();
    if !unbalanced.is_empty() {
        writeln!(out, "\nnot accounted for, which is a bug of the importer: {unbalanced:?}")?;
    }
    Ok(())
}

/// How a shell runs this program again, from anywhere.
pub(super) fn program() -> String {
    let path = std::env::current_exe().ok();
    path.map_or_else(|| "importer".to_owned(), |path| hints::word(path.display()))
}
