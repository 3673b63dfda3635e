//! The built command.

use std::{
    ffi::OsStr,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use anyhow::{Context as _, ensure};
use serde_json::Value;

/// How a run ended.
#[derive(Debug)]
pub struct Run {
    /// Exit code; -1 if a signal ended it.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Run {
    /// The JSON document on standard output.
    ///
    /// # Errors
    ///
    /// If the run failed; warnings are no failure.
    pub fn json(&self) -> anyhow::Result<Value> {
        ensure!(matches!(self.code, 0 | 11), "exit code {}: {}{}", self.code, self.err, self.out);
        serde_json::from_str(&self.out).context("standard output is no JSON")
    }

    /// The codes of the blocking findings in the JSON document on standard output, however the run ended.
    ///
    /// # Errors
    ///
    /// If it is no such document.
    pub fn blocking(&self) -> anyhow::Result<Vec<String>> {
        let printed: Value =
            serde_json::from_str(&self.out).context("standard output is no JSON")?;
        let findings = printed.get("findings").and_then(Value::as_array).context("no findings")?;
        let blocking = findings.iter().filter(|finding| finding["severity"] == "blocking");
        Ok(blocking.filter_map(|finding| finding["code"].as_str()).map(str::to_owned).collect())
    }

    /// What a run of `backfill` printed. It ends with 10 if something was given up for the first time: that is asked for
    /// once more an hour later.
    ///
    /// # Errors
    ///
    /// If it failed, or printed no JSON.
    pub fn backfilled(&self) -> anyhow::Result<Value> {
        let is_ended = matches!(self.code, 0 | 10 | 11);
        ensure!(is_ended, "exit code {}: {}{}", self.code, self.err, self.out);
        serde_json::from_str(&self.out).context("standard output is no JSON")
    }

    /// That the run failed with this exit code, with all these words in its message, and without a panic.
    ///
    /// # Errors
    ///
    /// If it did not; says what it did.
    pub fn failed(&self, code: i32, words: &[&str]) -> anyhow::Result<()> {
        let Self { code: found, out, err } = self;
        ensure!(*found == code, "exit code {found} instead of {code}: {err}{out}");
        for word in words {
            ensure!(err.contains(word), "no {word:?} in {err:?}");
        }
        ensure!(!err.contains("panicked"), "{err}");
        Ok(())
    }
}

/// Runs `importer` with these arguments, for JSON.
///
/// # Errors
///
/// If the command is not built.
pub fn run<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> anyhow::Result<Run> {
    let path = path()?;
    run_by(&mut Command::new(&path), arguments)
}

/// Runs another program that takes the same arguments.
///
/// # Errors
///
/// If it can't be started.
pub fn run_other<S: AsRef<OsStr>>(
    program: &str,
    arguments: impl IntoIterator<Item = S>,
) -> anyhow::Result<Run> {
    run_by(&mut Command::new(program), arguments)
}

/// Runs `importer` with these arguments, for people.
///
/// # Errors
///
/// If the command is not built.
pub fn text(arguments: &[&str]) -> anyhow::Result<Output> {
    new()?.args(arguments).arg("--no-progress").output().context("running `importer`")
}

/// The command, to be started.
///
/// # Errors
///
/// If it is not built.
pub fn new() -> anyhow::Result<Command> {
    path().map(Command::new)
}

/// Runs a command as the user `nobody`, whom access rights hold back as they don't hold back root. `None`: only root can.
///
/// # Errors
///
/// As [`run`].
pub fn run_as_nobody<S: AsRef<OsStr>>(
    arguments: impl IntoIterator<Item = S>,
) -> anyhow::Result<Option<Run>> {
    let scratch = tempfile::tempdir()?;
    fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o755))?;
    // Where it was built may be closed to others.
    let copy = scratch.path().join("importer");
    fs::copy(path()?, &copy)?;
    let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups"];
    if !Command::new("setpriv").args(nobody).arg("true").status().is_ok_and(|s| s.success()) {
        return Ok(None);
    }
    run_by(Command::new("setpriv").args(nobody).arg(copy), arguments).map(Some)
}

/// Commands that print in one form only.
const OF_ONE_FORM: [&str; 3] = ["inspect", "proxy-config", "quiet-config"];

fn run_by<S: AsRef<OsStr>>(
    command: &mut Command,
    arguments: impl IntoIterator<Item = S>,
) -> anyhow::Result<Run> {
    let arguments: Vec<_> =
        arguments.into_iter().map(|argument| argument.as_ref().to_owned()).collect();
    let has_forms =
        arguments.first().is_some_and(|name| !OF_ONE_FORM.iter().any(|one| name == one));
    command.arg("--no-progress").args(&arguments);
    if has_forms {
        command.args(["--format", "json"]);
    }
    let output = command.output().with_context(|| format!("running {command:?}"))?;
    Ok(Run {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout)?,
        err: String::from_utf8(output.stderr)?,
    })
}

/// Runs a command that must fail: with this exit code, with all these words in its message, and without a panic.
///
/// # Errors
///
/// If it does anything else; says what.
pub fn fails<S: AsRef<OsStr>>(
    arguments: impl IntoIterator<Item = S>,
    code: i32,
    words: &[&str],
) -> anyhow::Result<()> {
    run(arguments)?.failed(code, words)
}

/// Dumps a Synapse named by `source`; returns the manifest.
///
/// # Errors
///
/// If the dump fails.
pub fn dump(source: &[String], directory: &Path) -> anyhow::Result<Value> {
    dump_with(source, directory, &[])
}

/// Dumps the newest events of a Synapse's rooms, and so many more where these relate to earlier ones.
///
/// # Errors
///
/// If the dump fails.
pub fn dump_recent(source: &[String], directory: &Path, reach: u32) -> anyhow::Result<Value> {
    dump_with(source, directory, &["--history", "recent", "--reach-back", &reach.to_string()])
}

/// Dumps a Synapse, with an earlier dump of it.
///
/// # Errors
///
/// If the dump fails.
pub fn dump_since(source: &[String], directory: &Path, earlier: &Path) -> anyhow::Result<Value> {
    dump_with(source, directory, &["--since", &earlier.to_string_lossy()])
}

fn dump_with(source: &[String], directory: &Path, more: &[&str]) -> anyhow::Result<Value> {
    let directory = directory.to_string_lossy();
    let end = ["--dump", &directory].into_iter().chain(more.iter().copied());
    run(["dump"].into_iter().chain(source.iter().map(String::as_str)).chain(end))?.json()
}

/// Imports a dump; returns what was printed.
///
/// # Errors
///
/// If the import fails.
pub fn import(dump: &Path, database: &Path, backend: &str) -> anyhow::Result<Value> {
    run(import_arguments(dump, database, backend))?.json()
}

/// Looks at a database without a dump; returns what was printed.
///
/// # Errors
///
/// If there are findings.
pub fn verify_alone(database: &Path, server_name: &str) -> anyhow::Result<Value> {
    let arguments = ["verify", "--server-name", server_name, "--database"].map(OsStr::new);
    run(arguments.into_iter().chain([database.as_os_str()]))?.json()
}

/// Arguments of [`import`].
pub fn import_arguments<'a>(
    dump: &'a Path,
    database: &'a Path,
    backend: &'a str,
) -> [&'a OsStr; 7] {
    let [command, of, to, by] = ["import", "--dump", "--database", "--backend"].map(OsStr::new);
    [command, of, dump.as_os_str(), to, database.as_os_str(), by, backend.as_ref()]
}

/// Imports a dump into a database for Continuwuity.
///
/// # Errors
///
/// If that fails.
pub fn import_for_continuwuity(dump: &Path, database: &Path) -> anyhow::Result<Value> {
    let to = ["--target", "continuwuity"].map(OsStr::new);
    run(import_arguments(dump, database, "rocksdb").into_iter().chain(to))?.json()
}

/// `target/PROFILE/importer`, next to the directory of the test's own executable.
///
/// # Errors
///
/// If the command is not built: `cargo build -p importer --features conduit-backfill/testing` does that.
pub fn path() -> anyhow::Result<PathBuf> {
    let executable = std::env::current_exe()?;
    let profile = executable.ancestors().nth(2).context("the test is not below `target`")?;
    let path = profile.join("importer");
    ensure!(path.exists(), "`{}` is not built; run `cargo build -p importer`", path.display());
    Ok(path)
}
