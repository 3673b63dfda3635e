//! Media: files into Conduit's media directory, and the rows that name them
//! (src/database/key_value/media.rs:22-76).
//!
//! Continuwuity has a name for each media id, all of which are links to the one file. It can't block media, so what is quarantined
//! stays behind there.
//!
//! Files are hashed and copied by a thread of their own while everything else is imported, then by all cores; rows follow in the
//! order of the dump. One content is one file, however many records name it. Conduit makes thumbnails itself.

mod ahead;
mod copy;
mod findings;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

pub(super) use self::ahead::Copies;
use self::{
    ahead::Files,
    copy::{Copied, content_type, file_name, uploader},
    findings::MediaFindings,
};
use super::{ImportError, context::Context, row_writer::Rows};
use crate::{
    conduit::schema::{
        dialect::Dialect,
        media_name,
        shapes::{
            AuthenticatedFile, Blocked, ContentHash as FileHash, ContentMedia, File, FileTimes,
            Localpart, Media, MediaUser, OpenFile, ServerLocalpartMedia, User,
        },
        trees,
    },
    dump::{DumpReader, PreparedMedia, format::DumpMedia},
    findings::Finding,
    fs::{ContentDirectory, ContentHash},
    hash::hash as hash_of,
    progress::Progress,
    tally::{Kind, Tally},
};

/// Where media goes, and where its files come from.
#[derive(Debug)]
pub struct MediaTarget {
    /// Conduit's media directory, as it is to become.
    pub directory: ContentDirectory,
    /// Synapse's media store, if it is not where the dump says.
    pub store: Option<PathBuf>,
    /// Hard links rather than copies, where that can be.
    pub link: bool,
    /// Files of the store that were copied beforehand, if there are any: they are linked, and not read.
    pub prepared: Option<PreparedMedia>,
}

/// What came from files that were copied beforehand.
#[derive(Debug, Default)]
pub struct LinkedMedia {
    /// Media files.
    pub files: u64,
    /// Their contents, of which nothing was read.
    pub contents: BTreeSet<ContentHash>,
}

/// What is written of one content.
#[derive(Clone, Copy)]
struct Content {
    bytes: u64,
    created: u64,
    last_access: u64,
}

/// Writes the rows of all media of the dump, whose files are in `copies`; without these, media is left out. Gives what the operator
/// must know, and what came from prepared files.
pub(super) fn import(
    dump: &DumpReader,
    copies: Option<Copies<'_>>,
    context: &Context,
    rows: &mut Rows<'_>,
    tally: &mut Tally,
    progress: &Progress,
) -> Result<(Vec<Finding>, LinkedMedia), ImportError> {
    let Some(records) = dump.media()? else { return Ok(Default::default()) };
    let target = copies.as_ref().map(|copies| copies.target);
    let is_by_id = rows.dialect() == Dialect::Continuwuity;
    let mut writer = Writer {
        context,
        rows,
        tally,
        findings: MediaFindings::default(),
        withdrawn: BTreeSet::new(),
        by_id: target.map(|target| &target.directory).filter(|_| is_by_id),
        named: BTreeSet::new(),
        linked: LinkedMedia::default(),
    };
    let (Some(target), Some(copies)) = (target, copies) else {
        for record in records {
            writer.without_directory(&record?)?;
        }
        return Ok(Default::default());
    };
    let read = dump.manifest().tally.written.get(&Kind::Media).copied().unwrap_or(0);
    let phase = progress.phase("media file", usize::try_from(read).unwrap_or(usize::MAX));
    copies.each(|files| {
        let number = u64::try_from(files.len()).unwrap_or(u64::MAX);
        writer.chunk(files)?;
        phase.advance(number);
        Ok(())
    })?;
    let done = writer.finish()?;
    if is_by_id {
        // Files have their names since they were copied.
        target.directory.sync()?;
    }
    Ok(done)
}

/// Writes the rows of media.
struct Writer<'a, 's> {
    context: &'a Context,
    rows: &'a mut Rows<'s>,
    tally: &'a mut Tally,
    findings: MediaFindings,
    /// Contents of quarantined media.
    withdrawn: BTreeSet<ContentHash>,
    /// The directory, if its files are named by their media ids.
    by_id: Option<&'a ContentDirectory>,
    /// Hashes of the ids that have a name there.
    named: BTreeSet<u64>,
    linked: LinkedMedia,
}

impl Writer<'_, '_> {
    /// Counts media as left out, but blocks what is quarantined.
    fn without_directory(&mut self, record: &DumpMedia) -> Result<(), ImportError> {
        self.quarantine(record)?;
        let (kind, number) = (self.kind(record), u64::from(record.path.is_some()));
        let detail = "no media directory was named";
        self.tally.leave_out(kind, number, record.uri(), "no-directory", detail);
        Ok(())
    }

    fn kind(&self, record: &DumpMedia) -> Kind {
        if record.server == self.context.server_name { Kind::Media } else { Kind::RemoteMedia }
    }

    fn chunk(&mut self, copied: Files) -> Result<(), ImportError> {
        let mut contents: BTreeMap<ContentHash, Content> = BTreeMap::new();
        for (record, file) in copied {
            self.quarantine(&record)?;
            let Some(file) = file else { continue };
            let kind = self.kind(&record);
            self.tally.read(kind, 1);
            if self.by_id.is_some() && !self.named.insert(hash_of(&record.uri())) {
                let detail = "another file of the dump has the same id";
                self.tally.skip(kind, record.uri(), "id-taken", detail);
                continue;
            }
            let Copied { hash, bytes, is_linked } = match file {
                Ok(copied) => copied,
                Err(error) => {
                    self.tally.skip(kind, record.uri(), error.reason(), error.to_string());
                    continue;
                }
            };
            if is_linked {
                self.linked.files = self.linked.files.saturating_add(1);
                self.linked.contents.insert(hash);
            }
            self.findings.record(&record, bytes, &self.context.server_name);
            if record.quarantined_by.is_some() {
                self.withdrawn.insert(hash);
            }
            let times = self.times(&record, bytes);
            contents.entry(hash).and_modify(|known| known.merge(times)).or_insert(times);
            self.record(&record, &hash)?;
            self.name_by_id(&record, &hash)?;
            self.tally.written(kind, 1);
        }
        for (hash, content) in &mut contents {
            if let Some(earlier) = self.content(hash)? {
                content.merge(earlier);
            }
        }
        for (hash, Content { bytes, created, last_access }) in contents {
            let key = FileHash { sha256: hash.as_bytes() };
            let value =
                FileTimes { bytes, created_seconds: created, last_access_seconds: last_access };
            self.rows.put(&trees::FILEHASH_METADATA, &key, &value)?;
        }
        Ok(())
    }

    /// Conduit's times are seconds, and one in the future is a huge age to it, which ends in deletion
    /// (src/database/key_value/media.rs:1277-1310). Another server's file counts as asked for when it was dumped: Conduit
    /// deletes those that nobody asked for in thirty days (src/config/mod.rs:467-476).
    fn times(&self, record: &DumpMedia, bytes: u64) -> Content {
        let now = self.context.created_ts;
        let created = Some(record.created_ts).filter(|ts| (1..=now).contains(ts)).unwrap_or(now);
        let last_access = match self.kind(record) {
            Kind::RemoteMedia => now,
            _ => record.last_access_ts.unwrap_or(created).clamp(created, now),
        };
        let [created, last_access] = [created, last_access].map(|ts| ts.div_euclid(1000));
        Content { bytes, created, last_access }
    }

    fn content(&mut self, hash: &ContentHash) -> Result<Option<Content>, ImportError> {
        let tree = &trees::FILEHASH_METADATA;
        let Some(value) = self.rows.get(tree, hash.as_bytes())? else { return Ok(None) };
        Ok(tree.read_value(hash.as_bytes(), &value).ok().map(|file| Content {
            bytes: file.bytes,
            created: file.created_seconds,
            last_access: file.last_access_seconds,
        }))
    }

    fn record(&mut self, record: &DumpMedia, hash: &ContentHash) -> Result<(), ImportError> {
        let (server, media) = (record.server.as_str(), record.media_id.as_str());
        let id = Media { server, media };
        let sha256 = hash.as_bytes();
        let (filename, content_type) = (file_name(record), content_type(record));
        // An open file has an empty last part: requests without a token are answered
        // (src/database/key_value/media.rs:1653).
        let file = if record.unauthenticated {
            File::Open(OpenFile { sha256, filename, content_type })
        } else {
            File::Authenticated(AuthenticatedFile { sha256, filename, content_type })
        };
        self.rows.put(&trees::SERVERNAMEMEDIAID_METADATA, &id, &file)?;
        let content_media = ContentMedia { sha256, server, media };
        self.rows.mark(&trees::FILEHASH_SERVERNAME_MEDIAID, &content_media)?;
        if let Some(user) = uploader(record, &self.context.server_name) {
            let localpart = user.localpart();
            let of_user = ServerLocalpartMedia { server, localpart, media };
            self.rows.mark(&trees::SERVERNAME_USERLOCALPART_MEDIAID, &of_user)?;
            let uploader = Localpart { localpart };
            self.rows.put(&trees::SERVERNAMEMEDIAID_USERLOCALPART, &id, &uploader)?;
        }
        Ok(())
    }

    /// Names a file by its media id, where that is the server's way.
    fn name_by_id(&mut self, record: &DumpMedia, hash: &ContentHash) -> Result<(), ImportError> {
        let Some(directory) = self.by_id else { return Ok(()) };
        let mxc = record.uri();
        let key = media_name::key(&mxc, file_name(record), content_type(record));
        directory.name_also(hash, &media_name::on_disk(&key))?;
        self.rows.put_raw(&trees::MEDIAID_FILE, key, Vec::new())?;
        if let Some(user) = uploader(record, &self.context.server_name) {
            let user = user.as_str();
            self.rows.put(&trees::MEDIAID_USER, &MediaUser { mxc: &mxc, user }, &User { user })?;
        }
        Ok(())
    }

    /// Blocks what is quarantined, whether or not there is a file: Conduit would fetch it anew from the other server.
    fn quarantine(&mut self, record: &DumpMedia) -> Result<(), ImportError> {
        let Some(user) = &record.quarantined_by else { return Ok(()) };
        self.tally.read(Kind::Quarantine, 1);
        if !self.rows.holds(&trees::BLOCKED_SERVERNAME_MEDIAID) {
            let detail = "Continuwuity can't block media; the file stays behind";
            self.tally.skip(Kind::Quarantine, record.uri(), "not-in-conduit", detail);
            if record.path.is_some() {
                self.tally.leave_out(self.kind(record), 1, record.uri(), "quarantined", detail);
            }
            return Ok(());
        }
        let id = Media { server: record.server.as_str(), media: &record.media_id };
        // Synapse does not note when.
        let seconds = self.context.created_ts.div_euclid(1000);
        let reason = format!("quarantined on Synapse by {user}");
        let value = Blocked { seconds, reason: &reason };
        self.rows.put(&trees::BLOCKED_SERVERNAME_MEDIAID, &id, &value)?;
        self.tally.written(Kind::Quarantine, 1);
        Ok(())
    }

    /// Names what Conduit blocks because media of the same content is blocked
    /// (src/database/key_value/media.rs:550-568), and gives all findings, and what came from prepared files.
    fn finish(mut self) -> Result<(Vec<Finding>, LinkedMedia), ImportError> {
        if let Some(directory) = self.by_id {
            for key in self.rows.keys(&trees::FILEHASH_METADATA, &[])? {
                if let Ok(hash) = ContentHash::try_from(&*key) {
                    directory.unname(&hash)?;
                }
            }
        }
        let tree = &trees::FILEHASH_SERVERNAME_MEDIAID;
        for hash in &self.withdrawn {
            for key in self.rows.keys(tree, hash.as_bytes())? {
                let Ok(ContentMedia { server, media, .. }) = tree.read_key(&key) else { continue };
                let blocked = &trees::BLOCKED_SERVERNAME_MEDIAID;
                let key = blocked.key_of(&Media { server, media });
                if self.rows.get(blocked, &key)?.is_none() {
                    self.findings.twin(format!("mxc://{server}/{media}"));
                }
            }
        }
        Ok((self.findings.finish(), self.linked))
    }
}

impl Content {
    /// The same content came by another record.
    fn merge(&mut self, other: Self) {
        self.created = self.created.min(other.created);
        self.last_access = self.last_access.max(other.last_access);
    }
}
