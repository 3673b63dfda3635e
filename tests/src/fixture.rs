//! Fixtures: see `fixtures/README.md`.

use std::{path::PathBuf, process::Command};

use anyhow::{Context as _, ensure};
use tempfile::TempDir;

/// Unpacks the database that a real Conduit wrote. It goes when the returned directory is dropped.
///
/// # Errors
///
/// If `tar` or `zstd` is not installed (`scripts/setup` installs them), or the disk is full.
pub fn conduit_v18() -> anyhow::Result<(TempDir, PathBuf)> {
    let scratch = tempfile::tempdir()?;
    let archive = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/conduit-v18.tar.zst");
    let status = Command::new("tar")
        .args(["--zstd", "-xf", archive, "-C"])
        .arg(scratch.path())
        .status()
        .context("running `tar`")?;
    ensure!(status.success(), "`tar --zstd` failed; is `zstd` installed?");
    let database = scratch.path().join("conduit-v18");
    Ok((scratch, database))
}
