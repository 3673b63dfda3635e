//! Collecting findings without filling the memory.

use std::{borrow::Cow, collections::BTreeMap};

use crate::findings::{Finding, Severity, codes, codes::Code};

/// Findings of one code and severity that are kept; the rest is counted.
const KEPT: u64 = 1000;

/// Findings so far, as many of each code as a reader can take in; the others are counted.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    findings: Vec<Finding>,
    /// By severity too, so that many warnings don't hide an error of the same code.
    counts: BTreeMap<(&'static str, Severity), u64>,
}

impl Findings {
    /// Adds a finding of a code about `subject`.
    pub(crate) fn add(
        &mut self,
        code: &Code,
        subject: impl Into<String>,
        text: impl Into<Cow<'static, str>>,
    ) {
        let count = self.counts.entry((code.code, code.severity)).or_default();
        *count += 1;
        if *count <= KEPT {
            self.findings.push(code.of(subject, text));
        }
    }

    /// Adds a finding with words of its own. These are few, and all are kept.
    pub(crate) fn push(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    /// Takes over what others found.
    pub(crate) fn merge(&mut self, other: Self) {
        for (kind, count) in other.counts {
            let own = self.counts.entry(kind).or_default();
            let room = usize::try_from(KEPT.saturating_sub(*own)).unwrap_or(usize::MAX);
            *own += count;
            let of_kind = other.findings.iter().filter(|f| (f.code, f.severity) == kind);
            self.findings.extend(of_kind.take(room).cloned());
        }
    }

    /// All findings, sorted, with a line for those that were only counted.
    pub(crate) fn finish(mut self) -> Vec<Finding> {
        for ((code, severity), count) in self.counts {
            if let Some(more) = count.checked_sub(KEPT).filter(|more| *more > 0) {
                self.findings.push(Finding {
                    severity,
                    code,
                    meaning: codes::of(code, severity).map_or("", |entry| entry.meaning).into(),
                    subject: "further ones".into(),
                    text: format!("{more} more findings of this code").into(),
                    remedy: "".into(),
                });
            }
        }
        self.findings.sort();
        self.findings
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::codes;

    #[test]
    fn findings_beyond_the_limit_are_counted_and_hide_nothing_graver() {
        let mut found = Findings::default();
        for number in 0..KEPT + 2 {
            found.add(&codes::REFERENCE_MISSING, format!("{number:04}"), "is not marked");
        }
        found.add(&codes::EXTREMITY_REFERENCED, "last", "is marked");
        let findings = found.finish();
        assert_eq!(findings.len(), 1002);
        assert_eq!((findings[0].severity, &*findings[0].subject), (Severity::Blocking, "last"));
        let further = findings.iter().find(|finding| finding.subject == "further ones").unwrap();
        assert_eq!(further.text, "2 more findings of this code");
        assert_eq!((further.severity, further.code), (Severity::Warning, "V119"));
    }
}
