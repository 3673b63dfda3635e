//! A real Synapse with a family in it: see `scripts/lab`.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

/// A database that Synapse uses.
#[derive(Clone, Copy, Debug)]
pub enum Engine {
    /// One file.
    Sqlite,
    /// A cluster of the laboratory's own.
    Postgres,
}

impl Engine {
    fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        }
    }
}

/// A Synapse on a copy that the test may do with as it likes; stopped when this is dropped.
///
/// The story is told once for each engine and kept below `target/lab`, under the hash of the scripts that tell it: not for
/// each test, not even for each run.
#[derive(Debug)]
pub struct Lab {
    directory: TempDir,
    notes: Value,
}

impl Lab {
    /// Starts a filled Synapse.
    ///
    /// # Errors
    ///
    /// If `scripts/setup` has not been run, or Synapse does not start: then with what it said.
    pub fn start(engine: Engine) -> anyhow::Result<Self> {
        let mut lab = Self::copy(&family(engine)?)?;
        lab.resume()?;
        Ok(lab)
    }

    /// A filled Synapse with SQLite that does not run, which many tests do with.
    ///
    /// # Errors
    ///
    /// As [`Lab::start`].
    pub fn stopped() -> anyhow::Result<Self> {
        Self::stopped_copy(&family(Engine::Sqlite)?)
    }

    /// The same after much more talk: what makes the story is no longer among the newest events of its rooms.
    ///
    /// # Errors
    ///
    /// As [`Lab::start`].
    pub fn long_ago() -> anyhow::Result<Self> {
        Self::stopped_copy(&long_ago()?)
    }

    fn stopped_copy(template: &Path) -> anyhow::Result<Self> {
        let mut lab = Self::copy(template)?;
        for name in ["homeserver.yaml", "lab.json"] {
            let path = lab.directory().join(name);
            let text = fs::read_to_string(&path)?;
            let here = lab.directory();
            fs::write(&path, text.replace(&*template.to_string_lossy(), &here.to_string_lossy()))?;
        }
        lab.read_notes()?;
        Ok(lab)
    }

    /// A Synapse without users, which does not run; its database does and can be filled by
    /// [`crate::generate::generate`].
    ///
    /// # Errors
    ///
    /// As [`Lab::start`].
    pub fn empty(engine: Engine) -> anyhow::Result<Self> {
        let mut lab = Self::copy(&nobody(engine)?)?;
        lab.resume_database()?;
        Ok(lab)
    }

    /// A filled Synapse that does not run; its database does.
    ///
    /// # Errors
    ///
    /// As [`Lab::start`].
    pub fn database(engine: Engine) -> anyhow::Result<Self> {
        let mut lab = Self::copy(&family(engine)?)?;
        lab.resume_database()?;
        Ok(lab)
    }

    /// Starts the database alone after [`Lab::stop`].
    ///
    /// # Errors
    ///
    /// If it does not start.
    pub fn resume_database(&mut self) -> anyhow::Result<()> {
        self.run("database", &[])?;
        self.read_notes()
    }

    fn copy(template: &Path) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir_in(cache()?)?;
        copy(template, &directory.path().join("lab"))?;
        // PostgreSQL runs as a user of its own, who must be able to come here.
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o711))?;
        Ok(Self { directory, notes: Value::Null })
    }

    /// Where it is.
    pub fn directory(&self) -> PathBuf {
        self.directory.path().join("lab")
    }

    /// Starts Synapse again after [`Lab::stop`], with its database.
    ///
    /// # Errors
    ///
    /// If it does not start.
    pub fn resume(&mut self) -> anyhow::Result<()> {
        self.resume_with(&[])
    }

    /// The same with further arguments for `start`.
    ///
    /// # Errors
    ///
    /// If it does not start.
    pub fn resume_with(&mut self, arguments: &[&str]) -> anyhow::Result<()> {
        self.run("start", arguments)?;
        self.read_notes()
    }

    /// Like [`Lab::resume`], but Synapse has the limits that it has by default for requests of other servers.
    ///
    /// # Errors
    ///
    /// If it does not start.
    pub fn resume_with_default_limits(&mut self) -> anyhow::Result<()> {
        self.resume_with(&["--default-limits"])
    }

    fn read_notes(&mut self) -> anyhow::Result<()> {
        let text = fs::read_to_string(self.directory().join("lab.json"))?;
        self.notes = serde_json::from_str(&text)?;
        Ok(())
    }

    /// Stops Synapse, and PostgreSQL with it.
    ///
    /// # Errors
    ///
    /// If it does not stop.
    pub fn stop(&self) -> anyhow::Result<()> {
        self.run("stop", &[]).map(drop)
    }

    /// Runs a command of `scripts/lab` on it; gives what it printed.
    ///
    /// # Errors
    ///
    /// If it fails; with all that it said.
    pub fn run(&self, command: &str, arguments: &[&str]) -> anyhow::Result<String> {
        script(command, &self.directory(), arguments)
    }

    /// Runs a client of `tests/clients` on it, which moves it; gives what that printed.
    ///
    /// # Errors
    ///
    /// If something is not as it was before, with all that was said.
    pub fn run_client(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::new(python()?);
        command.arg(repository().join("tests/clients")).arg("--dir").arg(self.directory());
        command.arg("--installed").arg(Self::clients()?).args(arguments);
        run(&mut command)
    }

    /// Where `scripts/test-clients` installs clients.
    ///
    /// # Errors
    ///
    /// If the test is not below `target`.
    pub fn clients() -> anyhow::Result<PathBuf> {
        Ok(cache()?.with_file_name("clients"))
    }

    /// A path in its directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory().join(name)
    }

    /// The first access token of a user of the story.
    pub fn access_token(&self, user: &str) -> &str {
        let pointer = format!("/users/{user}/devices/0/access_token");
        self.notes.pointer(&pointer).and_then(Value::as_str).unwrap_or_default()
    }

    /// A note of `lab.json` that is a text, such as `base_url`; empty if there is none.
    pub fn note(&self, name: &str) -> &str {
        self.notes.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// The number of users in the story.
    pub fn users(&self) -> usize {
        self.notes.get("users").and_then(Value::as_object).map_or(0, serde_json::Map::len)
    }

    /// The number of rooms in the story.
    pub fn rooms(&self) -> usize {
        self.notes.get("rooms").and_then(Value::as_object).map_or(0, serde_json::Map::len)
    }

    /// Arguments with which the importer reads the database.
    pub fn by_database(&self) -> Vec<String> {
        vec!["--synapse-config".to_owned(), self.note("config").to_owned()]
    }

    /// Arguments with which the importer reads the APIs.
    pub fn by_api(&self) -> Vec<String> {
        [
            "--homeserver",
            self.note("base_url"),
            "--admin-token-file",
            self.note("admin_token_file"),
            "--signing-key",
            self.note("signing_key"),
        ]
        .map(ToOwned::to_owned)
        .to_vec()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // A failure here has no one to go to, and the test's own is the one that matters.
        drop(self.stop());
    }
}

/// The Python in which Synapse is installed.
///
/// # Errors
///
/// If `scripts/setup` has not been run.
pub fn python() -> anyhow::Result<PathBuf> {
    let python = cache()?.join("venv/bin/python");
    ensure!(python.exists(), "the laboratory is not installed; run `scripts/setup`");
    Ok(python)
}

/// Runs a command of `scripts/lab`.
fn script(command: &str, directory: &Path, arguments: &[&str]) -> anyhow::Result<String> {
    let mut python = Command::new(python()?);
    python.arg(repository().join("scripts/lab")).arg(command).arg("--dir").arg(directory);
    run(python.args(arguments))
}

/// Runs a program of the laboratory's Python.
fn run(command: &mut Command) -> anyhow::Result<String> {
    // The servers that it starts stay: they must not hold a pipe that we wait for.
    let [out, log] = [tempfile::NamedTempFile::new()?, tempfile::NamedTempFile::new()?];
    let status = command
        .stdin(Stdio::null())
        .stdout(out.reopen()?)
        .stderr(log.reopen()?)
        .status()
        .context("running the laboratory's Python")?;
    if !status.success() {
        let said = [out.path(), log.path()].map(fs::read_to_string);
        bail!("{command:?} failed: {said:?}");
    }
    Ok(fs::read_to_string(out.path())?)
}

/// The root of the sources.
fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// `target/lab`, wherever `target` is: the test's own executable is in `target/PROFILE/deps`.
fn cache() -> anyhow::Result<PathBuf> {
    let executable = std::env::current_exe()?;
    let target = executable.ancestors().nth(3).context("the test is not below `target`")?;
    Ok(target.join("lab"))
}

/// A laboratory in which the story was told, stopped.
fn family(engine: Engine) -> anyhow::Result<PathBuf> {
    template(&format!("template-{}", engine.name()), |directory| {
        script("start", directory, &["--engine", engine.name()])?;
        script("fill", directory, &[])
    })
}

/// The same after much more talk. The story is told once for both.
fn long_ago() -> anyhow::Result<PathBuf> {
    let family = family(Engine::Sqlite)?;
    template("template-long-ago", |directory| {
        copy(&family, directory)?;
        script("start", directory, &[])?;
        script("talk", directory, &[])
    })
}

/// Copies a stopped laboratory.
fn copy(template: &Path, directory: &Path) -> anyhow::Result<()> {
    let status = Command::new("cp").arg("-a").arg(template).arg(directory).status()?;
    ensure!(status.success(), "copying the laboratory failed");
    Ok(())
}

/// A laboratory without users, stopped.
fn nobody(engine: Engine) -> anyhow::Result<PathBuf> {
    template(&format!("empty-{}", engine.name()), |directory| {
        script("empty", directory, &["--engine", engine.name()])
    })
}

/// A laboratory that is kept; made anew if the scripts have changed, by the first of all tests that want it.
fn template(
    name: &str,
    fill: impl FnOnce(&Path) -> anyhow::Result<String>,
) -> anyhow::Result<PathBuf> {
    let place = cache()?.join(name);
    fs::create_dir_all(&place)?;
    let turn = fs::File::create(place.join("lock"))?;
    turn.lock()?;
    let directory = place.join("lab");
    let told = place.join("told");
    let story = story()?;
    if fs::read_to_string(&told).is_ok_and(|text| text == story) {
        return Ok(directory);
    }
    if directory.exists() {
        fs::remove_dir_all(&directory)?;
    }
    let made = fill(&directory);
    let end = script("stop", &directory, &[]);
    made?;
    end?;
    fs::write(told, story)?;
    Ok(directory)
}

/// The scripts of `scripts/lab` that make a laboratory what it is. What they import does so, too; the others look at it.
const TELLERS: [&str; 4] = ["empty", "fill", "homeserver", "talk"];

/// Hash of the scripts that tell the story.
fn story() -> anyhow::Result<String> {
    let scripts = repository().join("scripts/lab");
    let mut files = BTreeMap::new();
    let mut next: Vec<_> = TELLERS.map(ToOwned::to_owned).into();
    while let Some(name) = next.pop() {
        let file = scripts.join(format!("{name}.py"));
        if files.contains_key(&file) || !file.exists() {
            continue;
        }
        let text = fs::read_to_string(&file)?;
        let imports = text.lines().filter_map(|line| {
            let name = line.strip_prefix("import ").or_else(|| line.strip_prefix("from "))?;
            name.split_whitespace().next().map(ToOwned::to_owned)
        });
        next.extend(imports);
        files.insert(file, text);
    }
    let requirements = scripts.join("requirements.txt");
    let text = fs::read_to_string(&requirements)?;
    files.insert(requirements, text);
    let mut hasher = Sha256::new();
    for text in files.values() {
        hasher.update(text);
    }
    Ok(hex::encode(hasher.finalize()))
}
