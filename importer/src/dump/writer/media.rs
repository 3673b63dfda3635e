//! Writing `media.jsonl`.

use super::{DumpWriter, HashingFile, WriteError, write_line};
use crate::dump::{
    format::{DumpMedia, DumpMediaHead},
    names,
};

impl DumpWriter {
    /// Begins `media.jsonl`. [`Self::finish_media`] must follow.
    ///
    /// # Errors
    ///
    /// [`WriteError::Io`], [`WriteError::Twice`].
    pub fn media(&self, head: &DumpMediaHead) -> Result<MediaWriter, WriteError> {
        let file = HashingFile::create(self.directory.path(), names::MEDIA.into(), names::MEDIA)?;
        let mut writer = MediaWriter { file, line: Vec::new() };
        writer.line(head)?;
        Ok(writer)
    }

    /// Ends `media.jsonl`.
    ///
    /// # Errors
    ///
    /// [`WriteError::Io`].
    pub fn finish_media(&self, media: MediaWriter) -> Result<(), WriteError> {
        self.complete([media.file.finish()?]);
        Ok(())
    }

    /// Where the dump's own media files go: [`names::MEDIA_FILES`] of the unfinished dump.
    pub fn media_directory(&self) -> std::path::PathBuf {
        self.directory.path().join(names::MEDIA_FILES)
    }
}

/// Writes the records of `media.jsonl`.
#[derive(Debug)]
pub struct MediaWriter {
    file: HashingFile,
    line: Vec<u8>,
}

impl MediaWriter {
    /// Appends a record.
    ///
    /// # Errors
    ///
    /// [`WriteError::Io`].
    pub fn record(&mut self, media: &DumpMedia) -> Result<(), WriteError> {
        self.line(media)
    }

    fn line(&mut self, item: &impl serde::Serialize) -> Result<(), WriteError> {
        write_line(&mut self.line, item);
        self.line.push(b'\n');
        self.file.write(&self.line)
    }
}
