//! `media.jsonl`: what is known of each media file, one a line.

use ruma::OwnedServerName;
use serde::{Deserialize, Serialize};

use super::is_false;

/// The first line of `media.jsonl`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DumpMediaHead {
    /// Synapse's media directories: a file is in the first that has it. Empty: the files are in the dump's own folder
    /// `media`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stores: Vec<String>,
}

/// A further line of `media.jsonl`: a media file of this server, or one of another server that this one keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DumpMedia {
    /// The server in the `mxc:` URI.
    pub server: OwnedServerName,
    /// The rest of the `mxc:` URI.
    pub media_id: String,
    /// The file, `/`-separated: below one of [`DumpMediaHead::stores`] as Synapse names it, or below the dump's folder
    /// `media`. Absent: the file is left out, and the record is there because it is quarantined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// SHA-256 of the content in hexadecimal: as Synapse noted it, or as the content was when it was copied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// The size in bytes, as Synapse noted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// The content type that the uploader gave. Any text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// The file name that the uploader gave. Any text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload_name: Option<String>,
    /// When it was uploaded here, or fetched from the other server.
    pub created_ts: u64,
    /// When it was last asked for, if ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_access_ts: Option<u64>,
    /// The local user who uploaded it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uploader: Option<String>,
    /// Who withdrew it from everybody, if somebody has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantined_by: Option<String>,
    /// Whether it is given to requests without an access token.
    #[serde(default, skip_serializing_if = "is_false")]
    pub unauthenticated: bool,
}

impl DumpMedia {
    /// The `mxc:` URI.
    pub fn uri(&self) -> String {
        format!("mxc://{}/{}", self.server, self.media_id)
    }
}
