//! Reading users ahead of what is done with them.

use std::sync::mpsc::sync_channel;

use super::{DumpReader, ReadError};
use crate::dump::format::DumpUser;

/// Bytes of the file of a user who is not read ahead: what such users own may fill the memory.
const LARGE: u64 = 256 << 10;
/// Users who wait.
const WAITING: usize = 8;

impl DumpReader {
    /// Gives all users to `visit`, in the order of their files. The next ones are read meanwhile; of those who own much, one
    /// is in memory at a time.
    ///
    /// # Errors
    ///
    /// The first one of reading or of `visit`, which ends it.
    pub fn each_user<E: From<ReadError>>(
        &self,
        mut visit: impl FnMut(DumpUser) -> Result<(), E>,
    ) -> Result<(), E> {
        let (sender, users) = sync_channel(WAITING);
        std::thread::scope(|scope| {
            scope.spawn(move || {
                for file in self.user_files() {
                    let user = (file.bytes < LARGE).then(|| self.user(file));
                    if sender.send((file, user)).is_err() {
                        break;
                    }
                }
            });
            users
                .into_iter()
                .try_for_each(|(file, user)| visit(user.unwrap_or_else(|| self.user(file))?))
        })
    }
}
