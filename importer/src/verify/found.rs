//! Collecting findings without filling the memory.

use std::collections::BTreeMap;

use crate::findings::{Finding, Severity};

/// Findings of one code that are kept; the rest is counted.
const KEPT: u64 = 200;

/// Findings so far.
#[derive(Debug, Default)]
pub(super) struct Found {
    findings: Vec<Finding>,
    counts: BTreeMap<&'static str, (Severity, u64)>,
}

impl Found {
    /// Something that makes the database unfit.
    pub(super) fn error(
        &mut self,
        code: &'static str,
        subject: impl Into<String>,
        text: impl Into<String>,
    ) {
        self.add(Severity::Blocking, code, subject.into(), text.into());
    }

    /// Something that is not as it should be and harms little.
    pub(super) fn warning(
        &mut self,
        code: &'static str,
        subject: impl Into<String>,
        text: impl Into<String>,
    ) {
        self.add(Severity::Warning, code, subject.into(), text.into());
    }

    /// Something that is good to know.
    pub(super) fn note(
        &mut self,
        code: &'static str,
        subject: impl Into<String>,
        text: impl Into<String>,
    ) {
        self.add(Severity::Note, code, subject.into(), text.into());
    }

    fn add(&mut self, severity: Severity, code: &'static str, subject: String, text: String) {
        let (_, count) = self.counts.entry(code).or_insert((severity, 0));
        *count = count.saturating_add(1);
        if *count <= KEPT {
            let remedy = match severity {
                Severity::Blocking => "don't start Conduit on it; import again, and report this",
                Severity::Warning | Severity::Note => "",
            };
            self.findings.push(Finding { severity, code, subject, text, remedy: remedy.into() });
        }
    }

    pub(super) fn finish(mut self) -> Vec<Finding> {
        for (code, (severity, count)) in self.counts {
            if let Some(more) = count.checked_sub(KEPT).filter(|more| *more > 0) {
                self.findings.push(Finding {
                    severity,
                    code,
                    subject: "further ones".into(),
                    text: format!("{more} more findings of this code"),
                    remedy: String::new(),
                });
            }
        }
        self.findings.sort();
        self.findings
    }
}
