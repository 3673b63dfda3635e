//! A PostgreSQL server of a test's own, if its programs are installed.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, postgres::PgConnectOptions};
use tempfile::TempDir;

/// A server on a Unix socket in a directory of its own; stopped when dropped.
pub(in crate::synapse::database) struct Server {
    programs: PathBuf,
    directory: TempDir,
    port: u16,
}

impl Server {
    /// Starts a server. `None`: PostgreSQL is not installed, which is said on standard output.
    pub(in crate::synapse::database) fn start() -> Option<Self> {
        Self::start_with(5432, |_| "-c listen_addresses=''".to_owned())
    }

    /// Starts a server with further options, which may need files in its directory.
    pub(in crate::synapse::database) fn start_with(
        port: u16,
        prepare: impl FnOnce(&Self) -> String,
    ) -> Option<Self> {
        let Some(programs) = programs() else {
            println!("skipped: no initdb and pg_ctl of PostgreSQL found");
            return None;
        };
        // The socket's path must be short.
        let directory = tempfile::Builder::new().prefix("pg").tempdir_in("/tmp").unwrap();
        let server = Self { programs, directory, port };
        let path = server.socket().to_str().unwrap();
        if is_root() {
            run(Command::new("chown").args(["postgres", path]));
        }
        let data = format!("{path}/data");
        run(server.command("initdb").args([
            "-D",
            &data,
            "-A",
            "trust",
            "-U",
            "postgres",
            "-N",
            "--no-locale",
            "-E",
            "UTF8",
        ]));
        let options = format!("-k {path} -c port={port} -c fsync=off {}", prepare(&server));
        let log = format!("{path}/log");
        run(server
            .command("pg_ctl")
            .args(["-D", &data, "-o", &options, "-l", &log, "-w", "start"]));
        Some(server)
    }

    pub(in crate::synapse::database) fn socket(&self) -> &Path {
        self.directory.path()
    }

    pub(in crate::synapse::database) fn options(&self) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .socket(self.socket())
            .port(self.port)
            .username("postgres")
            .database("postgres")
    }

    /// Makes a further database.
    pub(in crate::synapse::database) async fn create_database(&self, name: &str, options: &str) {
        self.execute(format!("CREATE DATABASE {name} TEMPLATE template0 {options}")).await;
    }

    /// Runs a statement in the first database.
    pub(in crate::synapse::database) async fn execute(&self, sql: String) {
        let mut connection = self.options().connect().await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }

    /// A program of PostgreSQL's, which refuses to run as root.
    fn command(&self, name: &str) -> Command {
        as_postgres(&self.programs.join(name))
    }
}

/// Runs a program as PostgreSQL's user.
pub(in crate::synapse::database) fn run_as_postgres(program: &str, arguments: &[&str]) {
    run(as_postgres(program.as_ref()).args(arguments));
}

fn as_postgres(program: &Path) -> Command {
    if is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
        command
    } else {
        Command::new(program)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let data = self.socket().join("data");
        let _stopped =
            self.command("pg_ctl").args(["-m", "immediate", "stop", "-D"]).arg(data).output();
    }
}

fn run(command: &mut Command) {
    let output = command.current_dir("/").output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output().unwrap();
    output.stdout.trim_ascii() == b"0"
}

fn programs() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let installed = versions.map(|version| version.path().join("bin"));
    let mut all = std::env::split_paths(&path).chain(installed);
    all.find(|directory| directory.join("initdb").exists() && directory.join("pg_ctl").exists())
}
