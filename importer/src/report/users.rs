//! The table of accounts.

use std::collections::{BTreeMap, BTreeSet};

use ruma::OwnedUserId;
use serde::Serialize;

use super::MediaSums;
use crate::{
    dump::{DumpReader, ReadError, format::DumpUser},
    tally::{Kind, Tally},
};

/// An account of a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UserFacts {
    /// The user id.
    pub user_id: String,
    /// The display name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Devices in the dump.
    pub devices: u64,
    /// Access tokens in the dump.
    pub tokens: u64,
    /// Access tokens that moved.
    pub tokens_moved: u64,
    /// Rooms that the user is in.
    pub rooms: u64,
    /// Media files that the user uploaded, in the dump.
    pub files: u64,
    /// Their bytes, as Synapse noted them.
    pub file_bytes: u64,
    /// What is special: `administrator`, `deactivated`, …
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<&'static str>,
    /// Why the account was left out, if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_out: Option<String>,
}

/// Reads all accounts.
pub(super) fn read(
    dump: &DumpReader,
    imported: &Tally,
    joined: &BTreeMap<OwnedUserId, u64>,
    mut uploads: Uploads,
) -> Result<Vec<UserFacts>, ReadError> {
    let mut tokens_left: BTreeMap<&str, u64> = BTreeMap::new();
    let mut left_out: BTreeMap<&str, &str> = BTreeMap::new();
    for skip in &imported.skipped {
        match skip.kind {
            Kind::AccessToken => {
                // `DEVICE of USER`; a device id may be anything, a user id has no spaces.
                let user = skip.item.rsplit_once(" of ").map_or("", |(_, user)| user);
                let count = tokens_left.entry(user).or_default();
                *count += 1;
            }
            Kind::User => {
                left_out.insert(&skip.item, &skip.detail);
            }
            _ => {}
        }
    }
    let mut users = Vec::with_capacity(dump.number_of_users());
    for user in dump.users() {
        let user = user?;
        let id = user.user_id.as_str();
        let left_out = left_out.get(id).map(|&detail| detail.to_owned());
        let tokens: u64 = user
            .devices
            .iter()
            .map(|device| len(&device.access_tokens))
            .fold(0, u64::saturating_add);
        let tokens_left = tokens_left.get(id).copied().unwrap_or(0);
        let (files, file_bytes) = uploads.by_user.remove(id).unwrap_or_default();
        users.push(UserFacts {
            devices: len(&user.devices),
            tokens,
            tokens_moved: if left_out.is_some() { 0 } else { tokens.saturating_sub(tokens_left) },
            files,
            file_bytes,
            rooms: joined.get(&user.user_id).copied().unwrap_or(0),
            flags: flags(&user),
            name: user.profile.displayname,
            user_id: user.user_id.into(),
            left_out,
        });
    }
    users.sort_by(|a, b| a.user_id.cmp(&b.user_id));
    Ok(users)
}

/// Media files of the dump.
pub(super) struct Uploads {
    /// Number and bytes of the files of each uploader.
    by_user: BTreeMap<String, (u64, u64)>,
    /// Those that moved, cached ones of other servers too.
    pub(super) moved: MediaSums,
}

impl Uploads {
    pub(super) fn read(dump: &DumpReader, imported: &Tally) -> Result<Self, ReadError> {
        let is_file = |kind| matches!(kind, Kind::Media | Kind::RemoteMedia);
        let left = imported.skipped.iter().filter(|skip| is_file(skip.kind));
        let left: BTreeSet<&str> = left.map(|skip| skip.item.as_str()).collect();
        let mut uploads = Self { by_user: BTreeMap::new(), moved: MediaSums::default() };
        for media in dump.media()?.into_iter().flatten() {
            let media = media?;
            if media.path.is_none() {
                continue;
            }
            let size = media.bytes.unwrap_or(0);
            if !left.contains(media.uri().as_str()) {
                uploads.moved.files += 1;
                uploads.moved.bytes = uploads.moved.bytes.saturating_add(size);
            }
            let Some(uploader) = media.uploader else { continue };
            let (files, bytes) = uploads.by_user.entry(uploader).or_default();
            *files += 1;
            *bytes = bytes.saturating_add(size);
        }
        Ok(uploads)
    }
}

fn flags(user: &DumpUser) -> Vec<&'static str> {
    [
        (user.admin, "administrator"),
        (user.deactivated, "deactivated"),
        (user.erased, "erased"),
        (user.guest, "guest"),
        (user.locked, "locked"),
        (user.suspended, "suspended"),
        (user.shadow_banned, "shadow-banned"),
        (user.awaiting_approval, "awaiting approval"),
        (user.appservice_id.is_some(), "application service"),
    ]
    .into_iter()
    .filter_map(|(is, name)| is.then_some(name))
    .collect()
}

fn len<T>(items: &[T]) -> u64 {
    u64::try_from(items.len()).unwrap_or(u64::MAX)
}
