//! What an operator should know of media that moves.

use super::{content_type, uploader};
use crate::{
    dump::format::DumpMedia,
    findings::{Finding, Severity},
};

/// Findings of one code that are listed; further ones are counted.
const LISTED: usize = 100;

/// What the operator should know of media, by the code of the finding.
#[derive(Debug, Default)]
pub(super) struct MediaFindings {
    /// Files of another size than Synapse noted.
    size: Limited,
    /// Media that moves without its content type or uploader.
    incomplete: Limited,
    /// Media that is blocked with quarantined media.
    twins: Limited,
}

/// Subjects and texts, and how many more there were.
#[derive(Debug, Default)]
struct Limited {
    items: Vec<(String, String)>,
    more: u64,
}

impl Limited {
    fn add(&mut self, subject: String, text: String) {
        if self.items.len() < LISTED {
            self.items.push((subject, text));
        } else {
            self.more = self.more.saturating_add(1);
        }
    }

    fn findings(self, severity: Severity, code: &'static str, remedy: &str) -> Vec<Finding> {
        let more = (self.more > 0)
            .then(|| ("further ones".to_owned(), format!("{} more of this code", self.more)));
        let items = self.items.into_iter().chain(more);
        items.map(|(item, text)| Finding::import(severity, code, item, text, remedy)).collect()
    }
}

impl MediaFindings {
    /// Notes what of a record moves otherwise than Synapse had it.
    pub(super) fn record(&mut self, record: &DumpMedia, bytes: u64, server_name: &str) {
        if let Some(noted) = record.bytes.filter(|noted| *noted != bytes) {
            self.size
                .add(record.uri(), format!("the file has {bytes} bytes, Synapse noted {noted}"));
        }
        if record.content_type.as_deref().unwrap_or_default() != content_type(record) {
            self.incomplete.add(
                record.uri(),
                "its content type can't be sent, so it moves without one".into(),
            );
        }
        if record.uploader.is_some() && uploader(record, server_name).is_none() {
            self.incomplete.add(
                record.uri(),
                "its uploader is no user of this server, so it moves without one".into(),
            );
        }
    }

    /// Notes media that has the same content as quarantined media.
    pub(super) fn twin(&mut self, uri: String) {
        self.twins.add(uri, "has the same content as quarantined media".into());
    }

    pub(super) fn finish(self) -> impl Iterator<Item = Finding> {
        let size = "it moves as it is; ask for the original if clients can't show it";
        let twins = "Conduit blocks it as well: it blocks by content";
        [
            self.size.findings(Severity::Warning, "I020", size),
            self.twins.findings(Severity::Warning, "I021", twins),
            self.incomplete.findings(Severity::Note, "I022", ""),
        ]
        .into_iter()
        .flatten()
    }
}
