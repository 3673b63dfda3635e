//! How much of a Synapse a dump holds: what an operator chooses, and what the manifest says.

use clap::ValueEnum as _;
use serde::{Deserialize, Serialize};

/// How many events more than the newest ones a room is dumped with, if it must be and nothing else is said.
pub const REACH_BACK: u32 = 1000;

/// How much of each room's timeline is dumped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum History {
    /// The newest events of each room, 50 at least, and what these relate to; the rest is left for later.
    Recent,
    /// Everything.
    Full,
}

/// What becomes of media files in a dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum MediaFiles {
    /// They stay in Synapse's media store; the dump says where each is.
    Refer,
    /// They are copied into the dump.
    Copy,
    /// Media is left out.
    None,
}

/// How much of a Synapse is dumped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extent {
    /// Of each timeline.
    pub history: History,
    /// With [`History::Recent`]: how many events more a room may have, to begin with what the newest ones relate to.
    #[serde(default)]
    pub reach_back: u32,
    /// Of the media files.
    pub media: MediaFiles,
    /// Whether media of other servers is there.
    #[serde(default)]
    pub remote_media: bool,
    /// Whether newest access tokens that a client would refresh are kept and last.
    #[serde(default)]
    pub keep_expiring_tokens: bool,
}

impl Extent {
    /// All that Synapse's database has of its own server, with media files left where they are.
    pub const FULL: Self = Self {
        history: History::Full,
        reach_back: 0,
        media: MediaFiles::Refer,
        remote_media: false,
        keep_expiring_tokens: false,
    };
}

impl std::fmt::Display for Extent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = |value: Option<clap::builder::PossibleValue>| {
            value.map(|value| value.get_name().to_owned()).unwrap_or_default()
        };
        let (history, media) =
            (name(self.history.to_possible_value()), name(self.media.to_possible_value()));
        write!(f, "--history {history} --media {media}")?;
        if self.reach_back > 0 {
            write!(f, " --reach-back {}", self.reach_back)?;
        }
        if self.remote_media {
            f.write_str(" --remote-media")?;
        }
        if self.keep_expiring_tokens { f.write_str(" --keep-expiring-tokens") } else { Ok(()) }
    }
}
