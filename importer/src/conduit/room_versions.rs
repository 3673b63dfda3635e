//! Versions of rooms.

/// Room versions that Conduit can hold (src/service/globals/mod.rs:182-193).
pub(crate) const ROOM_VERSIONS: [&str; 10] = ["3", "4", "5", "6", "7", "8", "9", "10", "11", "12"];

/// Whether Conduit can hold rooms of this version.
pub(crate) fn is_supported(version: Option<&str>) -> bool {
    version.is_some_and(|version| ROOM_VERSIONS.contains(&version))
}
