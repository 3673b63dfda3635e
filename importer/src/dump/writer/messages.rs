//! Writing the messages that wait for a user's devices.

use std::path::PathBuf;

use ruma::UserId;

use super::{DumpWriter, HashingFile, WriteError, write_line};
use crate::dump::{format::DumpMessage, names};

impl DumpWriter {
    /// Begins the file of the messages that wait for a user's devices, which is there if there is one. Those of a device
    /// follow each other, oldest first. [`Self::finish_messages`] must follow.
    pub fn messages(&self, user_id: &UserId) -> MessageWriter {
        MessageWriter {
            directory: self.directory.path().to_owned(),
            name: names::messages(user_id.as_str()),
            file: None,
            line: Vec::new(),
        }
    }

    /// Ends such a file.
    ///
    /// # Errors
    ///
    /// [`WriteError::Io`].
    pub fn finish_messages(&self, messages: MessageWriter) -> Result<(), WriteError> {
        if let Some(file) = messages.file {
            self.complete([file.finish()?]);
        }
        Ok(())
    }
}

/// Writes the messages that wait for a user's devices.
#[derive(Debug)]
pub struct MessageWriter {
    directory: PathBuf,
    name: String,
    file: Option<HashingFile>,
    line: Vec<u8>,
}

impl MessageWriter {
    /// Appends a message.
    ///
    /// # Errors
    ///
    /// [`WriteError::Io`], [`WriteError::Twice`].
    pub fn message(&mut self, message: &DumpMessage) -> Result<(), WriteError> {
        write_line(&mut self.line, message);
        self.line.push(b'\n');
        let file = match self.file.take() {
            Some(file) => file,
            None => HashingFile::create(&self.directory, self.name.clone(), &self.name)?,
        };
        self.file.insert(file).write(&self.line)
    }
}
