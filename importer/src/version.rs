//! What this importer is.

/// The commit that it is built from, if that is known.
pub(crate) const COMMIT: Option<&str> = option_env!("IMPORTER_COMMIT");

/// Version and commit, for a dump.
pub(crate) fn version_and_commit() -> String {
    let version = env!("CARGO_PKG_VERSION");
    COMMIT.map_or_else(|| version.to_owned(), |commit| format!("{version} ({commit})"))
}
