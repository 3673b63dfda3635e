//! Findings: things an operator must know or decide, as values; all are collected and shown together.

pub mod codes;
pub(crate) mod collector;

use std::{borrow::Cow, collections::BTreeSet, fmt};

use serde::Serialize;

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// The migration must not go on.
    Blocking,
    /// Something will not be as it was; look at it.
    Warning,
    /// Good to know.
    Note,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Blocking => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        })
    }
}

/// One finding. Of its texts, the borrowed ones are the program's own; an owned one may have other people's words in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// A stable code: `C…` from checks, `I…` from the import, `V…` from verify. Never reused.
    pub code: &'static str,
    /// What the code means.
    pub meaning: Cow<'static, str>,
    /// What it is about: a user, a room, a tree and key. Never a secret.
    pub subject: String,
    /// What was found.
    pub text: Cow<'static, str>,
    /// What to do about it; may be empty.
    pub remedy: Cow<'static, str>,
}

/// What to do about findings of one code, each thing once.
pub fn remedies<'a>(group: &[&'a Finding]) -> BTreeSet<&'a str> {
    group.iter().map(|finding| &*finding.remedy).filter(|remedy| !remedy.is_empty()).collect()
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}: {}", self.severity, self.code, self.subject, self.text)?;
        if self.remedy.is_empty() { Ok(()) } else { write!(f, "\n  hint: {}", self.remedy) }
    }
}

/// Downgrades the findings that an operator accepts to warnings, those that can be accepted, and sorts.
pub fn accept(findings: &mut [Finding], accepted: &BTreeSet<String>) {
    for finding in findings.iter_mut() {
        let acceptable = codes::find(finding.code).is_some_and(|code| code.acceptable);
        if acceptable && accepted.contains(finding.code) {
            finding.severity = finding.severity.max(Severity::Warning);
        }
    }
    findings.sort();
}

/// The gravest severity among findings.
pub fn gravest(findings: &[Finding]) -> Option<Severity> {
    findings.iter().map(|finding| finding.severity).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_remedy_is_said_once() {
        let finding = |remedy: &str| Finding {
            severity: Severity::Blocking,
            code: "C101",
            meaning: "".into(),
            subject: "Synapse's configuration".into(),
            text: "a file can't be read".into(),
            remedy: remedy.to_owned().into(),
        };
        let found = ["add `--map-path /data=/srv`", "", "be root", "be root"].map(finding);
        let group: Vec<&Finding> = found.iter().collect();
        assert!(remedies(&group).into_iter().eq(["add `--map-path /data=/srv`", "be root"]));
    }
}
