//! Reading the messages that wait for a user's devices.

use std::collections::BTreeSet;

use ruma::UserId;

use super::{DumpReader, Lines, ReadError};
use crate::dump::{format::DumpMessage, names};

impl DumpReader {
    /// The messages that wait for a user's devices, one by one: those of a device follow each other, oldest first.
    ///
    /// # Errors
    ///
    /// [`ReadError::Io`]; the messages' own.
    pub fn messages(&self, user_id: &UserId) -> Result<MessageReader, ReadError> {
        let name = names::messages(user_id.as_str());
        let lines =
            if self.has(&name) { Some(Lines::open(self.directory.join(name))?) } else { None };
        Ok(MessageReader { lines, device: None, done: BTreeSet::new() })
    }
}

/// The messages that wait for a user's devices. One is in memory at a time.
#[derive(Debug)]
pub struct MessageReader {
    lines: Option<Lines>,
    device: Option<String>,
    /// Devices whose messages are over.
    done: BTreeSet<String>,
}

impl Iterator for MessageReader {
    type Item = Result<DumpMessage, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let lines = self.lines.as_mut()?;
        let message: DumpMessage = match lines.next()? {
            Ok(message) => message,
            Err(error) => return Some(Err(error)),
        };
        if self.device.as_ref() != Some(&message.device_id) {
            self.done.extend(self.device.replace(message.device_id.clone()));
            if self.done.contains(&message.device_id) {
                return Some(Err(lines.unexpected("no device whose messages were over")));
            }
        }
        Some(Ok(message))
    }
}
