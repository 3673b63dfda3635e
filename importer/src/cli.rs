//! The command line: arguments in, exit code out. Each command has a file; data goes to standard output, everything
//! else to standard error.

mod arguments;
mod commands;
pub mod exit;
mod log;
mod output;
mod paint;

use std::{process::ExitCode, sync::LazyLock};

use anyhow::Context as _;
use clap::{Args, CommandFactory as _, Parser};

use self::commands::Command;
use crate::{
    conduit::{schema::dialect::Dialect, store::Access},
    progress::Progress,
    runtime,
    synapse::database,
};

/// Moves a Matrix homeserver from Synapse to Conduit under the same server name
#[derive(Debug, Parser)]
#[command(name = "importer", version, long_version = long_version())]
#[command(after_help = "\
Example, some days before the move and on its evening:
  importer check --synapse-config /etc/matrix-synapse/homeserver.yaml --conduit-config /etc/matrix-conduit/conduit.toml
  importer migrate --synapse-config /etc/matrix-synapse/homeserver.yaml --conduit-config /etc/matrix-conduit/conduit.toml

Exit codes: 0 clean, 1 failed, 2 wrong usage or an unusable configuration of Conduit, 3 Synapse could not be read, \
4 the dump is damaged, 5 the target can't be written, 10 blocking findings, 11 warnings")]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// The heading of the options that every command has.
const EVERYWHERE: &str = "Options of every command";

/// Options of every command.
#[derive(Clone, Copy, Debug, Args)]
struct Global {
    /// Print more on standard error; give it twice for everything
    #[arg(short, long, global = true, help_heading = EVERYWHERE, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Print nothing on standard error but errors, and which earlier dump is reused
    #[arg(short, long, global = true, help_heading = EVERYWHERE, conflicts_with = "verbose")]
    quiet: bool,
    /// Show no progress
    #[arg(long, global = true, help_heading = EVERYWHERE, env = "IMPORTER_NO_PROGRESS")]
    #[arg(value_parser = clap::builder::FalseyValueParser::new())]
    no_progress: bool,
    /// What opens the database that an import writes
    #[arg(skip = Access::DIRECT)]
    access: Access,
}

/// The command line as a value, of which manual pages and completions are made.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs the command line of the process.
pub fn main() -> ExitCode {
    main_with(Access::DIRECT)
}

/// The same, where imports write through `access`, and the verification reads through it.
pub fn main_with(access: Access) -> ExitCode {
    let mut cli = Cli::parse();
    cli.global.access = access;
    log::start(cli.global);
    let result = cli.command.run(cli.global);
    match result {
        Ok(code) => code.into(),
        Err(error) => {
            output::error(&error);
            exit::of_error(&error).into()
        }
    }
}

impl Global {
    fn progress(self) -> Progress {
        if self.no_progress || self.quiet { Progress::Hidden } else { Progress::detect() }
    }
}

/// What the program is made for.
fn long_version() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let schemas = database::SUPPORTED;
        let commit = crate::version::COMMIT.unwrap_or("not known: built without git, or for tests");
        format!(
            "{}\ncommit {commit}\nSynapse's database schemas {} to {}\nConduit's database version {}\nContinuwuity's database version {}\ndump format {}",
            env!("CARGO_PKG_VERSION"),
            schemas.start(),
            schemas.end(),
            Dialect::Conduit.version(),
            Dialect::Continuwuity.version(),
            crate::dump::format::VERSION,
        )
    });
    &TEXT
}

/// Whether an environment variable says something.
fn is_set(name: &str) -> bool {
    std::env::var_os(name).is_some_and(|value| !value.is_empty())
}

/// Lets the operator end a process whose signals the dump has caught, until the value is dropped: what catches signals
/// stays installed when its runtime is gone. Whatever is written by then has no name yet. `message` says so, and what to do.
fn interruptible(message: String) -> anyhow::Result<tokio::runtime::Runtime> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("starting the async runtime")?;
    runtime.spawn(async {
        runtime::interrupted().await;
        output::error(&anyhow::anyhow!(message));
        // Not `std::process::exit`: it would take RocksDB's threads apart while they write.
        signal_hook::low_level::exit(exit::FAILED.into());
    });
    Ok(runtime)
}

#[cfg(test)]
mod tests {
    use super::{Cli, command};

    #[test]
    fn the_command_line_is_well_formed_and_every_option_has_help() {
        let mut command = command().help_expected(true);
        command.build();
        command.debug_assert();
    }

    #[test]
    fn each_command_shows_an_example_and_takes_the_options_that_it_heeds() {
        use clap::Parser as _;
        for command in command().get_subcommands() {
            let help = command.get_after_help().unwrap().to_string();
            let name = command.get_name();
            assert!(
                help.starts_with("Example") && help.contains(&format!("\n  importer {name} ")),
                "{name}"
            );
            // What is said at the end of the help is a command line that this program takes.
            let example = help.split("importer ").nth(1).unwrap().lines();
            let mut words = vec!["importer".to_owned()];
            for line in example {
                let line = line.split(" > ").next().unwrap();
                words.extend(
                    line.split_whitespace().filter(|word| *word != "\\").map(str::to_owned),
                );
                if !line.ends_with('\\') {
                    break;
                }
            }
            assert!(Cli::try_parse_from(&words).is_ok(), "{words:?}");
            let with_format = words.iter().map(String::as_str).chain(["--format", "json"]);
            let has_forms = !["inspect", "proxy-config", "quiet-config"].contains(&name);
            assert_eq!(Cli::try_parse_from(with_format).is_ok(), has_forms, "{name}");
        }
    }

    #[test]
    fn the_long_version_says_what_it_is_made_of_and_for() {
        let said = command().render_long_version();
        let beginnings = [
            concat!("importer ", env!("CARGO_PKG_VERSION")),
            "commit ",
            "Synapse's database schemas ",
            "Conduit's database version ",
            "Continuwuity's database version ",
            "dump format ",
        ];
        assert_eq!(said.lines().count(), beginnings.len(), "{said}");
        for (line, beginning) in said.lines().zip(beginnings) {
            assert!(line.starts_with(beginning), "{said}");
        }
    }
}
