//! `importer backfill`.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt as _, lchown},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context as _;
use clap::Args;
use conduit_backfill::{Client, Options, SigningKey, http::HttpOptions};
use ruma::serde::{Base64, base64::Standard};
use secrecy::ExposeSecret as _;

use crate::{
    backfill::{DatabaseHost, FetchError, Keys, Outcome, RoomOutcome, fetch},
    cli::{
        Global,
        arguments::{source::read_secret, target::DatabaseArguments},
        exit, output,
    },
    conduit::store,
    counted::{counted, grouped},
    fs::files_below,
    import::history::History,
    runtime::{block_on, interrupted},
};

/// At the end of the help.
pub(in crate::cli) const EXAMPLE: &str = "\
Example:
  importer backfill --conduit-config /etc/matrix-conduit/conduit.toml --homeserver http://127.0.0.1:8008 \\
      --signing-key /etc/matrix-synapse/homeserver.signing.key";

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    target: DatabaseArguments,
    /// Address of the old Synapse, such as http://127.0.0.1:8008
    #[arg(long, value_name = "URL")]
    homeserver: reqwest::Url,
    /// Synapse's signing key file
    #[arg(long, value_name = "FILE")]
    signing_key: PathBuf,
    /// Ask again for all events that earlier runs gave up: those that Synapse did not have, showed to nobody, or that were invalid
    #[arg(long, alias = "ask-again")]
    retry_given_up: bool,
    #[command(flatten)]
    output: output::Form,
}

impl Arguments {
    pub(in crate::cli) fn run(&self, global: Global) -> anyhow::Result<u8> {
        let target = self.target.resolve()?;
        let secret = read_secret("--signing-key", &self.signing_key)?;
        let key = SigningKey::parse(secret.expose_secret())
            .with_context(|| format!("reading `{}`", self.signing_key.display()))?;
        block_on(async {
            let public = Base64::<Standard>::parse(key.public_key())?.into_inner();
            let own = (key.id().to_string(), public);
            let http = HttpOptions::default();
            let keys = Keys::connect(&self.homeserver, &own, http.clone()).await?;
            let server_name = keys.server_name().to_owned();
            target.check_server_name(server_name.as_str())?;
            let store = store::change(target.backend, &target.directory)?;
            self.target.expect(store.dialect())?;
            let mut history = History::open(store, &server_name)?;
            history.check_key(&own.0, &own.1)?;
            if self.retry_given_up {
                history.retry_given_up()?;
            }
            let upstream = Client::new(self.homeserver.clone(), server_name, key, http)?;
            let host = DatabaseHost::new(history, keys);
            let (outcome, error) = fetch(
                &host,
                Arc::new(upstream),
                Options::default(),
                global.progress(),
                interrupted(),
            )
            .await;
            output::print(self.output.format, &outcome, |out, outcome| {
                text(out, outcome, error.as_ref())
            })?;
            if let Some(history) = host.into_history() {
                history.close()?;
            }
            hand_over(&target.directory).with_context(|| {
                let directory = target.directory.display();
                format!("changing the owner of the files in `{directory}` to the directory's; do it with `chown -R`")
            })?;
            match error {
                Some(error) => Err(error.into()),
                None => Ok(exit_code(&outcome)),
            }
        })
    }
}

/// Gives what root wrote into Conduit's database to the owner of the directory, whom Conduit runs as and who could not open it.
fn hand_over(directory: &Path) -> io::Result<()> {
    let owner = fs::metadata(directory)?;
    if owner.uid() == 0 || !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    for file in files_below(directory) {
        let file = file?;
        if fs::symlink_metadata(&file)?.uid() == 0 {
            lchown(&file, Some(owner.uid()), Some(owner.gid()))?;
        }
    }
    Ok(())
}

fn exit_code(outcome: &Outcome) -> u8 {
    if outcome.is_whole() {
        exit::CLEAN
    } else if outcome.is_complete() {
        exit::WARNINGS
    } else {
        exit::BLOCKING
    }
}

fn text(out: &mut dyn io::Write, outcome: &Outcome, error: Option<&FetchError>) -> io::Result<()> {
    let told = |room: &&RoomOutcome| {
        room.fetched > 0 || !room.given_up.is_empty() || !room.missing.is_empty()
    };
    writeln!(out, "{:>10} {:>10} {:>10}  room", "fetched", "given up", "missing")?;
    for room in outcome.rooms.iter().filter(told) {
        let (given_up, missing) = (room.given_up.len(), room.missing.len());
        writeln!(out, "{:>10} {given_up:>10} {missing:>10}  {}", room.fetched, room.room_id)?;
        for reason in ["unavailable", "invalid", "withheld"] {
            let number = room.given_up.values().filter(|given| *given == reason).count();
            if number > 0 {
                writeln!(out, "{:>34}{number} {}", "", meaning(reason))?;
            }
        }
        if !room.doubtful.is_empty() {
            let number = room.doubtful.len();
            writeln!(out, "{:>34}{number} of them to be requested once more in an hour", "")?;
        }
        if let Some(problem) = &room.problem {
            writeln!(out, "{:>34}{problem}", "")?;
        }
    }
    let (fetched, rooms) = (grouped(outcome.fetched()), grouped(outcome.rooms.len()));
    writeln!(out, "\nEvents fetched: {fetched}; rooms looked at: {rooms}.")?;
    if error.is_some() || outcome.not_reached > 0 {
        writeln!(
            out,
            "{} left. Synapse is still needed.",
            counted(outcome.not_reached, ["room is", "rooms are"])
        )
    } else if !outcome.is_complete() {
        if outcome.has_missing() {
            writeln!(
                out,
                "Some rooms still lack events. Run the command again; Synapse is still needed."
            )?;
        }
        if outcome.has_doubtful() {
            writeln!(
                out,
                "Events that Synapse did not provide may be unavailable only for now: run the command again in an hour, and keep \
                 Synapse until then. Events that it does not provide then either are given up for good."
            )?;
        }
        Ok(())
    } else if outcome.is_whole() {
        writeln!(out, "Nothing is missing. Synapse may be shut down.")
    } else {
        writeln!(
            out,
            "This Synapse can't provide what is still missing. It may be shut down; keep its database."
        )
    }
}

/// A reason for people.
fn meaning(reason: &str) -> &'static str {
    match reason {
        "unavailable" => "that Synapse does not have or does not provide",
        "withheld" => "that Synapse showed to nobody",
        _ => "that are invalid",
    }
}
