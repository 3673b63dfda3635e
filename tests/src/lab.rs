//! The laboratory: a real Synapse, filled through its APIs by `scripts/lab`.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use anyhow::{Context as _, ensure};
use serde_json::Value;
use tempfile::TempDir;

/// A filled Synapse; stopped when dropped.
#[derive(Debug)]
pub struct Lab {
    scratch: TempDir,
    /// `lab.json`: where everything is.
    pub notes: Value,
}

impl Lab {
    /// Starts and fills a Synapse with SQLite, under the server name `family.test`.
    ///
    /// # Errors
    ///
    /// If its Python environment is missing: `scripts/setup` makes it.
    pub fn start() -> anyhow::Result<Self> {
        let mut lab = Self { scratch: tempfile::tempdir()?, notes: Value::Null };
        lab.run("start", &[])?;
        lab.run("fill", &[])?;
        let notes = std::fs::read(lab.directory().join("lab.json"))?;
        lab.notes = serde_json::from_slice(&notes)?;
        Ok(lab)
    }

    /// Stops Synapse; its files stay.
    ///
    /// # Errors
    ///
    /// If the laboratory says so.
    pub fn stop(&self) -> anyhow::Result<()> {
        self.run("stop", &[]).map(drop)
    }

    /// A text of `lab.json`.
    pub fn note(&self, name: &str) -> &str {
        self.notes.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// A path beside the laboratory, for results.
    pub fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn directory(&self) -> PathBuf {
        self.path("synapse")
    }

    /// Runs a command of `scripts/lab`; gives what it printed.
    ///
    /// # Errors
    ///
    /// If it fails; with all that it said.
    pub fn run(&self, command: &str, arguments: &[&str]) -> anyhow::Result<String> {
        let python = target().join("lab/venv/bin/python");
        ensure!(python.exists(), "`{}` is missing: run scripts/setup", python.display());
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/lab");
        let output = Command::new(python)
            .arg(scripts)
            .args([command, "--dir"])
            .arg(self.directory())
            .args(arguments)
            .output()?;
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "scripts/lab {command}: {printed}{said}");
        Ok(printed)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _result = self.stop();
    }
}

/// Runs the command `importer`, built beside the tests.
///
/// # Errors
///
/// If it was not built.
pub fn importer(arguments: &[&str]) -> anyhow::Result<Output> {
    command().args(arguments).arg("--no-progress").output().context("running `importer`")
}

/// The same, to be started.
pub fn command() -> Command {
    Command::new(target().join("debug/importer"))
}

/// Cargo's target directory: that of the running test.
fn target() -> PathBuf {
    let test = std::env::current_exe().unwrap_or_default();
    test.ancestors().nth(3).map(Path::to_owned).unwrap_or_default()
}
