//! Exit codes.

use super::arguments::source::{NoSource, SecretFileError};
use crate::{
    backfill::{ConnectError, FetchError},
    conduit::config::ConduitConfigError,
    drain::{ConduitError, DrainError},
    dump::{PreparedError, ReadError, WriteError},
    findings,
    findings::{Finding, Severity},
    import::{ImportError, history::HistoryError},
    migration::{Blocked, TargetError},
    report::ReportError,
    source::{SourceError, dump::DumpError},
    synapse::config::ConfigError,
    verify::VerifyError,
};

/// All is well.
pub const CLEAN: u8 = 0;
/// The run failed.
pub const FAILED: u8 = 1;
/// Wrong usage, clap's too; or a configuration of Conduit that can't be read or used.
pub const USAGE: u8 = 2;
/// The source could not be read: down, wrong token, wrong key, unsupported version.
pub const SOURCE: u8 = 3;
/// The dump is no dump, incomplete or damaged.
pub const DUMP: u8 = 4;
/// The target is not empty, not writable or full.
pub const TARGET: u8 = 5;
/// Findings that must be dealt with first.
pub const BLOCKING: u8 = 10;
/// Warnings only.
pub const WARNINGS: u8 = 11;

/// The exit code that a set of findings asks for.
pub fn of_findings(findings: &[Finding]) -> u8 {
    match findings::gravest(findings) {
        Some(Severity::Blocking) => BLOCKING,
        Some(Severity::Warning) => WARNINGS,
        Some(Severity::Note) | None => CLEAN,
    }
}

/// The exit code of an error that ended a command: that of the first error in its chain that has one.
pub fn of_error(error: &anyhow::Error) -> u8 {
    error.chain().find_map(of_cause).unwrap_or(FAILED)
}

fn of_cause(cause: &(dyn std::error::Error + 'static)) -> Option<u8> {
    if let Some(error) = cause.downcast_ref::<DumpError>() {
        return Some(match error {
            DumpError::Source(error) => of_source(error),
            DumpError::Write(WriteError::Earlier(_)) | DumpError::Earlier(_) => DUMP,
            DumpError::Write(_) => TARGET,
            DumpError::Interrupted => FAILED,
        });
    }
    if let Some(error) = cause.downcast_ref::<ImportError>() {
        return Some(match error {
            ImportError::Read(_) => DUMP,
            _ => TARGET,
        });
    }
    if let Some(error) = cause.downcast_ref::<VerifyError>() {
        return Some(match error {
            VerifyError::Read(_) => DUMP,
            VerifyError::Kv(_) => TARGET,
        });
    }
    if let Some(error) = cause.downcast_ref::<SourceError>() {
        return Some(of_source(error));
    }
    if let Some(error) = cause.downcast_ref::<FetchError>() {
        return Some(match error {
            FetchError::Source(_) => SOURCE,
            FetchError::Interrupted => FAILED,
            _ => TARGET,
        });
    }
    if let Some(error) = cause.downcast_ref::<DrainError>() {
        return Some(match error {
            DrainError::Interrupted => FAILED,
            _ => TARGET,
        });
    }
    let of_type = |is: bool, code: u8| is.then_some(code);
    of_type(cause.is::<ReadError>(), DUMP)
        .or_else(|| of_type(cause.is::<Blocked>(), BLOCKING))
        .or_else(|| of_type(cause.is::<NoSource>(), USAGE))
        .or_else(|| of_type(cause.is::<ConfigError>() || cause.is::<SecretFileError>(), SOURCE))
        .or_else(|| of_type(cause.is::<ConduitConfigError>() || cause.is::<TargetError>(), USAGE))
        .or_else(|| of_type(cause.is::<ConnectError>(), SOURCE))
        .or_else(|| of_type(cause.is::<HistoryError>() || cause.is::<ConduitError>(), TARGET))
        .or_else(|| of_type(cause.is::<crate::fs::atomic_dir::PartialError>(), TARGET))
        .or_else(|| of_type(cause.is::<WriteError>() || cause.is::<ReportError>(), TARGET))
        .or_else(|| of_type(cause.is::<crate::conduit::store::KvError>(), TARGET))
        .or_else(|| of_type(cause.is::<PreparedError>(), TARGET))
}

fn of_source(error: &SourceError) -> u8 {
    match error {
        SourceError::Write(_) => TARGET,
        SourceError::Homeserver(_) => SOURCE,
    }
}
