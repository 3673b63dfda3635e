//! `importer drain`.

use std::{io, path::PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use conduit_backfill::http::HttpOptions;
use secrecy::ExposeSecret as _;

use crate::{
    cli::{Global, arguments::source::read_secret, exit, output},
    counted::{count, counted},
    drain::{Conduit, DrainError, Outcome, Reached, Room, RoomOutcome, Tokens, drain},
    migration::open_dump,
    progress::Progress,
    runtime::{block_on, interrupted},
};

/// At the end of the help.
pub(in crate::cli) const EXAMPLE: &str = "\
Example:
  importer drain --conduit http://127.0.0.1:6167 --dump /var/backups/synapse-dump";

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// Address of the running Conduit, such as http://127.0.0.1:6167
    #[arg(long, value_name = "URL")]
    conduit: reqwest::Url,
    /// The dump that Conduit's database was made from; its rooms, members and access tokens are used
    #[arg(long, value_name = "DIR")]
    dump: PathBuf,
    /// File with lines `@user:server TOKEN`, for dumps without access tokens
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// How many rooms are read at the same time
    #[arg(long, value_name = "NUMBER", default_value = "2")]
    rooms: usize,
    #[command(flatten)]
    output: output::Form,
}

impl Arguments {
    pub(in crate::cli) fn run(&self, global: Global) -> anyhow::Result<u8> {
        let progress = global.progress();
        let conduit = Conduit::new(self.conduit.clone(), HttpOptions::default())?;
        let (rooms, tokens) = self.read(progress)?;
        block_on(async {
            let (outcome, error) =
                drain(&conduit, &tokens, &rooms, self.rooms, progress, interrupted()).await;
            output::print(self.output.format, &outcome, |out, outcome| {
                text(out, outcome, error.as_ref())
            })?;
            match error {
                Some(error) => Err(error.into()),
                None => Ok(exit_code(&outcome)),
            }
        })
    }

    /// The rooms to read, and who may.
    fn read(&self, progress: Progress) -> anyhow::Result<(Vec<Room>, Tokens)> {
        let dump = open_dump(&self.dump, progress)?;
        let mut tokens = Tokens::default();
        for user in dump.users() {
            tokens.add(&user?);
        }
        if let Some(path) = &self.token_file {
            let file = read_secret("--token-file", path)?;
            let read = tokens.read(file.expose_secret());
            read.with_context(|| format!("reading `{}`", path.display()))?;
        }
        if tokens.is_empty() {
            bail!(
                "the dump has no access tokens, as it was made through the APIs; name a file with lines \
                 `@user:server TOKEN` by `--token-file`, or stop Conduit and use `importer backfill`, which needs none"
            );
        }
        let mut rooms = Vec::new();
        for room in dump.rooms() {
            rooms.extend(Room::of(room?.head()));
        }
        Ok((rooms, tokens))
    }
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

fn text(out: &mut dyn io::Write, outcome: &Outcome, error: Option<&DrainError>) -> io::Result<()> {
    writeln!(out, "{:>10}  {:<12}  room", "events", "reached")?;
    for room in &outcome.rooms {
        writeln!(out, "{:>10}  {:<12}  {}", room.events, word(room.reached), room.room_id)?;
        for line in why(room) {
            writeln!(out, "{:>26}{line}", "")?;
        }
    }
    writeln!(
        out,
        "\nRead: {} of {}.",
        count(outcome.events(), "event"),
        count(outcome.rooms.len(), "room")
    )?;
    if error.is_some() || outcome.not_reached > 0 {
        writeln!(
            out,
            "{} left. Synapse is still needed.",
            counted(outcome.not_reached, ["room is", "rooms are"])
        )
    } else if !outcome.is_complete() {
        writeln!(
            out,
            "Some rooms could not be read to their beginning. Synapse is still needed. Check that this Conduit is patched and \
             that its `[global.predecessor]` names Synapse; or stop Conduit and run `importer backfill`, which names what is missing."
        )
    } else if outcome.is_whole() {
        writeln!(out, "Nothing is missing. Synapse may be shut down.")
    } else {
        writeln!(
            out,
            "Nothing is missing that a room's present members may see. Synapse may be shut down; keep its database. \
             To fetch the rest as well, first stop Conduit and run `importer backfill`."
        )
    }
}

fn word(reached: Reached) -> &'static str {
    match reached {
        Reached::Failed => "an error",
        Reached::Stopped => "not all",
        Reached::NotAsked => "nothing",
        Reached::Visible => "visible part",
        Reached::Left => "nobody in it",
        Reached::Beginning => "the beginning",
    }
}

/// What to say of a room that was not read to its beginning.
fn why(room: &RoomOutcome) -> Vec<String> {
    let mut lines = Vec::new();
    match room.reached {
        Reached::Beginning => {}
        Reached::Left => lines.push("no local user is in it any more".to_owned()),
        Reached::NotAsked => {
            lines.push("no access token of a member is known".to_owned());
        }
        Reached::Visible => {
            lines.push("older events are visible only to those who were in it then".to_owned());
        }
        Reached::Failed => {
            let oldest = room.oldest.as_ref();
            lines.extend(oldest.map(|event| format!("the oldest event that was read is {event}")));
        }
        Reached::Stopped => {
            let oldest = room.oldest.as_ref();
            lines.extend(oldest.map(|event| format!("Conduit returns nothing before {event}")));
        }
    }
    lines.extend(room.problem.clone());
    lines
}
