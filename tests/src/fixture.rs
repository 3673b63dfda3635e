//! Fixtures: see `fixtures/README.md`.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, ensure};
use tempfile::TempDir;

/// Unpacks the database that a real Conduit wrote. It goes when the returned directory is dropped.
///
/// # Errors
///
/// If `tar` or `zstd` is not installed (`scripts/setup` installs them), or the disk is full.
pub fn conduit_v18() -> anyhow::Result<(TempDir, PathBuf)> {
    unpacked("conduit-v18")
}

/// The same of the database that a real Continuwuity wrote.
///
/// # Errors
///
/// As [`conduit_v18`].
pub fn continuwuity_19() -> anyhow::Result<(TempDir, PathBuf)> {
    unpacked("continuwuity-19")
}

fn unpacked(name: &str) -> anyhow::Result<(TempDir, PathBuf)> {
    let scratch = tempfile::tempdir()?;
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let status = Command::new("tar")
        .args(["--zstd", "-xf"])
        .arg(fixtures.join(format!("{name}.tar.zst")))
        .arg("-C")
        .arg(scratch.path())
        .status()
        .context("running `tar`")?;
    ensure!(status.success(), "`tar --zstd` failed; is `zstd` installed?");
    let database = scratch.path().join(name);
    Ok((scratch, database))
}
