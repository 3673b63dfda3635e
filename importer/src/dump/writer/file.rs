//! A file of the dump, hashed while it is written.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread::{self, JoinHandle},
};

use sha2::{Digest, Sha256};

use super::WriteError;
use crate::dump::format::FileEntry;

/// Bytes that are collected before they are hashed and written.
const BUFFER: usize = 1 << 18;
/// Buffers that wait for a thread.
const WAITING: usize = 8;

/// A file of the dump. A small one is written when it is finished; a large one by a thread of its own, so that its source
/// is read on.
#[derive(Debug)]
pub(super) struct HashingFile {
    path: PathBuf,
    name: String,
    buffer: Vec<u8>,
    sink: Option<Sink>,
}

#[derive(Debug)]
enum Sink {
    Here(Hashed),
    Thread { buffers: SyncSender<Vec<u8>>, thread: JoinHandle<io::Result<Hashed>> },
}

/// What is on the disk.
#[derive(Debug)]
struct Hashed {
    file: File,
    hash: Sha256,
    bytes: u64,
}

impl HashingFile {
    pub(super) fn create(directory: &Path, name: String, id: &str) -> Result<Self, WriteError> {
        let path = directory.join(&name);
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
            Ok(file) => {
                let hashed = Hashed { file, hash: Sha256::new(), bytes: 0 };
                Ok(Self { path, name, buffer: Vec::new(), sink: Some(Sink::Here(hashed)) })
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(WriteError::Twice { id: id.into() })
            }
            Err(source) => Err(WriteError::Io { path, source }),
        }
    }

    pub(super) fn write(&mut self, data: &[u8]) -> Result<(), WriteError> {
        self.write_all(data).map_err(|source| self.error(source))
    }

    /// Ends the file. It is on the disk when the dump is finished.
    pub(super) fn finish(mut self) -> Result<FileEntry, WriteError> {
        match self.end() {
            Ok(Hashed { hash, bytes, .. }) => {
                Ok(FileEntry { path: self.name, bytes, sha256: hex::encode(hash.finalize()) })
            }
            Err(source) => Err(self.error(source)),
        }
    }

    pub(super) fn error(&self, source: io::Error) -> WriteError {
        WriteError::Io { path: self.path.clone(), source }
    }

    fn end(&mut self) -> io::Result<Hashed> {
        let rest = std::mem::take(&mut self.buffer);
        match self.sink.take() {
            Some(Sink::Here(mut hashed)) => hashed.take(&rest).map(|()| hashed),
            Some(Sink::Thread { buffers, thread }) => {
                // If it does not take the rest it has failed, and says why.
                let _failed = buffers.send(rest);
                drop(buffers);
                join(thread)
            }
            None => Err(io::Error::other("the file has been closed after an error")),
        }
    }

    /// Hands over what is collected.
    fn pass_on(&mut self) -> io::Result<()> {
        let full = std::mem::replace(&mut self.buffer, Vec::with_capacity(BUFFER));
        let (buffers, thread) = match self.sink.take() {
            Some(Sink::Thread { buffers, thread }) => (buffers, thread),
            Some(Sink::Here(hashed)) => {
                let (buffers, received) = sync_channel(WAITING);
                let thread = thread::Builder::new()
                    .name("dump".into())
                    .spawn(move || hashed.take_all(&received))?;
                (buffers, thread)
            }
            None => return Err(io::Error::other("the file has been closed after an error")),
        };
        if buffers.send(full).is_err() {
            return join(thread).and(Err(io::Error::other("the thread has ended")));
        }
        self.sink = Some(Sink::Thread { buffers, thread });
        Ok(())
    }
}

impl Write for HashingFile {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(data);
        if self.buffer.len() >= BUFFER {
            self.pass_on()?;
        }
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Hashed {
    fn take(&mut self, data: &[u8]) -> io::Result<()> {
        self.file.write_all(data)?;
        self.hash.update(data);
        self.bytes += u64::try_from(data.len()).unwrap_or(u64::MAX);
        Ok(())
    }

    fn take_all(mut self, buffers: &Receiver<Vec<u8>>) -> io::Result<Self> {
        while let Ok(buffer) = buffers.recv() {
            self.take(&buffer)?;
        }
        Ok(self)
    }
}

fn join(thread: JoinHandle<io::Result<Hashed>>) -> io::Result<Hashed> {
    thread
        .join()
        .unwrap_or_else(|_panic| Err(io::Error::other("the thread that writes has panicked")))
}
