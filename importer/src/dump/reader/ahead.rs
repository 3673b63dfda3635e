//! Reading users ahead of what is done with them.

use std::{iter, sync::mpsc::sync_channel};

use rayon::prelude::*;

use super::{DumpReader, ReadError};
use crate::dump::format::DumpUser;

/// Bytes of the file of a user who is not read ahead: what such users own may fill the memory.
const LARGE: u64 = 256 << 10;
/// Users who are read together, by all cores, and bytes of their files.
const BATCH: usize = 64;
const BATCH_BYTES: u64 = 1 << 20;
/// Batches that wait.
const WAITING: usize = 2;

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
        self.each_user_with(|_| (), |user, ()| visit(user))
    }

    /// The same, with what all cores `prepare` of the next users, and the visiting thread of those who own much.
    ///
    /// # Errors
    ///
    /// As of [`Self::each_user`].
    pub fn each_user_with<P: Send, E: From<ReadError>>(
        &self,
        prepare: impl Fn(&DumpUser) -> P + Sync,
        mut visit: impl FnMut(DumpUser, P) -> Result<(), E>,
    ) -> Result<(), E> {
        let (sender, batches) = sync_channel(WAITING);
        let read = |file| self.user(file).map(|user| (prepare(&user), user));
        let read = &read;
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let mut files = self.user_files().peekable();
                while files.peek().is_some() {
                    let mut bytes: u64 = 0;
                    let next = || {
                        let file = files.next_if(|_| bytes < BATCH_BYTES)?;
                        bytes = bytes.saturating_add(file.bytes);
                        Some(file)
                    };
                    let batch: Vec<_> = iter::from_fn(next).take(BATCH).collect();
                    let users = batch.into_par_iter();
                    let users = users.map(|file| (file, (file.bytes < LARGE).then(|| read(file))));
                    let users: Vec<_> = users.collect();
                    if sender.send(users).is_err() {
                        break;
                    }
                }
            });
            batches.into_iter().flatten().try_for_each(|(file, user)| {
                let (prepared, user) = user.unwrap_or_else(|| read(file))?;
                visit(user, prepared)
            })
        })
    }
}
