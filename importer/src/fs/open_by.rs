//! Whether another process has an SQLite database open.
//!
//! A connection holds locks on the database's file: in WAL mode, which is Conduit's, as long as it is open; otherwise, which
//! is Synapse's, while it reads or writes. So whoever has the file open is looked for in `/proc`, too, as far as this
//! process may look there: into its own user's processes, or as root into all.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use rustix::process::{Flock, FlockType, fcntl_getlk};

/// Where SQLite's locks begin in a database's file, and how many bytes they may cover (`PENDING_BYTE`, `SHARED_SIZE`).
const LOCKS: (u64, u64) = (0x4000_0000, 512);

/// Who has a database open, in words. Not to be asked while this process has it open: its own locks would go.
///
/// # Errors
///
/// If the file can't be opened.
pub(crate) fn holder(file: &Path) -> io::Result<Option<String>> {
    let open = File::open(file)?;
    let (start, length) = LOCKS;
    let whole = Flock { start, length, ..FlockType::WriteLock.into() };
    let lock = fcntl_getlk(&open, &whole).ok().flatten();
    if let Some(lock) = lock {
        // Of a process in another container, the number is not known.
        let process = lock.pid.map(|pid| format!("process {}", pid.as_raw_nonzero()));
        return Ok(Some(process.unwrap_or_else(|| "another process".into())));
    }
    let wanted = open.metadata()?;
    let is_it = |path: &Path| {
        path.metadata()
            .is_ok_and(|found| (found.dev(), found.ino()) == (wanted.dev(), wanted.ino()))
    };
    let own = std::process::id();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut numbers =
        processes.filter_map(|process| process.file_name().to_str()?.parse::<u32>().ok());
    let holds = |number: &u32| {
        let open = fs::read_dir(format!("/proc/{number}/fd"));
        open.into_iter().flatten().flatten().any(|file| is_it(&file.path()))
    };
    Ok(numbers
        .find(|number| *number != own && holds(number))
        .map(|number| format!("process {number}")))
}

#[cfg(test)]
pub(crate) mod tests;
