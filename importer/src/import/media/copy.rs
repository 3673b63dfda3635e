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

/// Why a file is not there.
pub(super) enum NotCopied {
    /// The file can't be used; others can.
    Skip(NotUsable),
    /// The media directory can't be written.
    Failed(PutError),
}

impl NotCopied {
    fn of(error: PutError, path: &str) -> Self {
        match NotUsable::of(error, path) {
            Ok(unusable) => Self::Skip(unusable),
            Err(failed) => Self::Failed(failed),
        }
    }
}

/// Copies or links a record's file into Conduit's media directory; one that was copied beforehand, without reading it.
pub(super) fn copy(
    store: &MediaStore,
    target: &MediaTarget,
    record: &DumpMedia,
    path: &str,
) -> Result<Copied, NotCopied> {
    let (mut file, real) = store.open(path).map_err(NotCopied::Skip)?;
    let noted = record.sha256.as_deref().and_then(|noted| noted.parse().ok());
    if let (Some(prepared), Ok(now)) = (&target.prepared, file.metadata())
        && let Some(hash) = prepared.link(path, &now, noted, &target.directory)
    {
        return Ok(Copied { hash, bytes: now.len(), is_linked: true });
    }
    let put = if target.link {
        target.directory.link(&mut file, &real, noted)
    } else {
        target.directory.copy(&mut file, noted)
    };
    let (hash, bytes) = put.map_err(|error| NotCopied::of(error, path))?;
    Ok(Copied { hash, bytes, is_linked: false })
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
