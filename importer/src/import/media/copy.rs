//! One media file on its way into Conduit's media directory, and what Conduit keeps of its record.

use ruma::{OwnedUserId, UserId};

use super::MediaTarget;
use crate::{
    dump::{MediaStore, NotUsable, format::DumpMedia},
    fs::{ContentHash, PutError},
};

/// A file that is in Conduit's media directory.
pub(super) struct Copied {
    pub(super) hash: ContentHash,
    pub(super) bytes: u64,
    /// Whether it is one that was copied beforehand, and was not read.
    pub(super) is_linked: bool,
}

/// Copies or links a record's file into Conduit's media directory; one that was copied beforehand, without reading it. The inner
/// error: this file can't be used, others can.
///
/// # Errors
///
/// If the media directory can't be written.
pub(super) fn copy(
    store: &MediaStore,
    target: &MediaTarget,
    record: &DumpMedia,
    path: &str,
) -> Result<Result<Copied, NotUsable>, PutError> {
    let (mut file, real) = match store.open(path) {
        Ok(opened) => opened,
        Err(unusable) => return Ok(Err(unusable)),
    };
    let noted = record.sha256.as_deref().and_then(|noted| noted.parse().ok());
    if let (Some(prepared), Ok(now)) = (&target.prepared, file.metadata())
        && let Some(hash) = prepared.link(path, &now, noted, &target.directory)
    {
        return Ok(Ok(Copied { hash, bytes: now.len(), is_linked: true }));
    }
    let put = if target.link {
        target.directory.link(&mut file, &real, noted)
    } else {
        target.directory.copy(&mut file, noted)
    };
    match put {
        Ok((hash, bytes)) => Ok(Ok(Copied { hash, bytes, is_linked: false })),
        Err(error) => NotUsable::of(error, path).map(Err),
    }
}

/// The file name as Conduit keeps it; empty if there is none.
pub(super) fn file_name(record: &DumpMedia) -> &str {
    record.upload_name.as_deref().unwrap_or_default()
}

/// The content type as Conduit keeps it. Conduit sends it as a header, and answers with an error if it can't be one; so
/// one with control characters is left out, which leaves it to the client to look.
pub(super) fn content_type(record: &DumpMedia) -> &str {
    let kind = record.content_type.as_deref().unwrap_or_default();
    if kind.chars().any(char::is_control) { "" } else { kind }
}

/// The local user who uploaded it, if Conduit can know: a user of this server.
pub(super) fn uploader(record: &DumpMedia, server_name: &str) -> Option<OwnedUserId> {
    let user = UserId::parse(record.uploader.as_deref()?).ok()?;
    (user.server_name() == server_name && record.server == server_name).then_some(user)
}
