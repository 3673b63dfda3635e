//! The commands, a file for each.

mod backfill;
mod check;
mod drain;
mod dump;
mod import;
mod inspect;
mod media;
mod migrate;
mod proxy_config;
mod quiet_config;
mod verify;

use clap::Subcommand;

use super::Global;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Check for anything that could make a migration fail or lose something; writes nothing
    #[command(after_help = check::EXAMPLE)]
    Check(check::Arguments),
    /// Dump a Synapse into a directory of JSON
    #[command(after_help = dump::EXAMPLE)]
    Dump(dump::Arguments),
    /// Write a dump into a new Conduit database
    #[command(after_help = import::EXAMPLE)]
    Import(import::Arguments),
    /// Compare a Conduit database with a dump, or check the database alone
    #[command(after_help = verify::EXAMPLE)]
    Verify(verify::Arguments),
    /// Print the rows of a Conduit database, decoded, as JSON lines
    #[command(after_help = inspect::EXAMPLE)]
    Inspect(inspect::Arguments),
    /// Copy the media files before the migration, while Synapse runs
    #[command(after_help = media::EXAMPLE)]
    Media(media::Arguments),
    /// Check, dump, import and verify in one go
    #[command(after_help = migrate::EXAMPLE)]
    Migrate(migrate::Arguments),
    /// Print a configuration that stops the old Synapse from sending anything while its history is fetched
    #[command(after_help = quiet_config::EXAMPLE)]
    QuietConfig(quiet_config::Arguments),
    /// Print a reverse proxy's rule for the pagination tokens that clients have from the other server
    #[command(after_help = proxy_config::EXAMPLE)]
    ProxyConfig(proxy_config::Arguments),
    /// Fetch the history that was left behind into a Conduit database, while Conduit is stopped
    #[command(after_help = backfill::EXAMPLE)]
    Backfill(backfill::Arguments),
    /// Make a running, patched Conduit fetch the history that was left behind
    #[command(after_help = drain::EXAMPLE)]
    Drain(drain::Arguments),
}

impl Command {
    /// Runs the command and gives the exit code of the process.
    pub(super) fn run(&self, global: Global) -> anyhow::Result<u8> {
        match self {
            Self::Check(arguments) => arguments.run(),
            Self::Dump(arguments) => arguments.run(global),
            Self::Import(arguments) => arguments.run(global),
            Self::Verify(arguments) => arguments.run(global),
            Self::Inspect(arguments) => arguments.run(),
            Self::Media(arguments) => arguments.run(global),
            Self::Migrate(arguments) => arguments.run(global),
            Self::QuietConfig(arguments) => arguments.run(),
            Self::ProxyConfig(arguments) => arguments.run(),
            Self::Backfill(arguments) => arguments.run(global),
            Self::Drain(arguments) => arguments.run(global),
        }
    }
}
