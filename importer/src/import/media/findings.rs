//! What an operator should know of media that moves.

use super::{content_type, uploader};
use crate::{
    dump::format::DumpMedia,
    findings::{Finding, codes, collector::Findings},
};

/// What the operator should know of media.
#[derive(Debug, Default)]
pub(super) struct MediaFindings(Findings);

impl MediaFindings {
    /// Notes what of a record moves otherwise than Synapse had it.
    pub(super) fn record(&mut self, record: &DumpMedia, bytes: u64, server_name: &str) {
        if let Some(noted) = record.bytes.filter(|noted| *noted != bytes) {
            self.0.add(
                &codes::MEDIA_LENGTH,
                record.uri(),
                format!("the file has {bytes} bytes, Synapse recorded {noted}"),
            );
        }
        if record.content_type.as_deref().unwrap_or_default() != content_type(record) {
            self.0.add(
                &codes::MEDIA_LESS,
                record.uri(),
                "its content type can't stand in a header, so it moves without one",
            );
        }
        if record.uploader.is_some() && uploader(record, server_name).is_none() {
            self.0.add(
                &codes::MEDIA_LESS,
                record.uri(),
                "its uploader is no user of this server, so it moves without one",
            );
        }
    }

    /// Notes media that has the same content as quarantined media.
    pub(super) fn twin(&mut self, uri: String) {
        self.0.add(&codes::MEDIA_TWIN, uri, "has the same content as quarantined media");
    }

    pub(super) fn finish(self) -> Vec<Finding> {
        self.0.finish()
    }
}
