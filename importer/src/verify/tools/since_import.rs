//! What has come since the import. A Conduit that runs goes on counting where the importer stopped, and people change what
//! was moved: that is no fault of the database, and nothing to import again for.

use crate::{
    conduit::{schema::trees, store::KvRead},
    findings::{Finding, Severity, codes},
    verify::{VerifyError, structure::states},
};

/// What to do about an error in a database that has been in use.
const IN_USE: &str = "Conduit has run on this database: don't import again, or everything written since is lost; keep a copy, and report this";

/// Codes for items that are missing or differ. In a database that has been in use, users may have changed them.
const CHANGED: [&str; 2] = [codes::MISSING_IN_DATABASE.code, codes::DIFFERS_FROM_DUMP.code];

/// How far the import counted, and how far the database has come since.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::verify) struct SinceImport {
    imported: Option<u64>,
    counter: u64,
}

impl SinceImport {
    pub(in crate::verify) fn read(store: &dyn KvRead) -> Result<Self, VerifyError> {
        let number = |key: &[u8]| states::number(store, &trees::GLOBAL, key);
        Ok(Self { imported: number(trees::IMPORTED)?, counter: number(b"c")?.unwrap_or(0) })
    }

    /// Whether an importer made the database and noted the last number that it gave out.
    pub(in crate::verify) fn is_imported(self) -> bool {
        self.imported.is_some()
    }

    /// Whether Conduit has given out numbers since the import.
    pub(in crate::verify) fn has_run(self) -> bool {
        self.imported.is_some_and(|imported| imported < self.counter)
    }

    /// Whether a number was given out after the import.
    pub(in crate::verify) fn is_new(self, number: u64) -> bool {
        self.imported.is_some_and(|imported| number > imported)
    }

    /// Says of a database that has been in use what differs from the dump, and of no error that the import should be done
    /// again.
    pub(in crate::verify) fn judge(self, mut findings: Vec<Finding>) -> Vec<Finding> {
        if !self.has_run() {
            return findings;
        }
        for finding in &mut findings {
            let code = if CHANGED.contains(&finding.code) {
                codes::CHANGED_SINCE_IMPORT
            } else if finding.code == codes::NOT_IN_DUMP.code {
                codes::NEW_SINCE_IMPORT
            } else {
                if finding.severity == Severity::Blocking {
                    finding.remedy = IN_USE.into();
                }
                continue;
            };
            (finding.code, finding.severity) = (code.code, code.severity);
            (finding.meaning, finding.remedy) = (code.meaning.into(), "".into());
        }
        findings.sort();
        findings
    }
}
