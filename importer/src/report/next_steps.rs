//! What an operator still has to do, in this order.

use std::{fs, net::SocketAddr, path::Path};

use serde::Serialize;

use super::{Later, Outcome};
use crate::{
    conduit::schema::dialect::Dialect,
    counted::count,
    fs::{
        atomic_dir::{normal, unfinished},
        hints::word,
    },
    proxy::Direction,
    synapse::quiet_config,
    tally::Kind,
};

/// Something that the operator still has to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Todo {
    /// What, and why. Parts between backquotes are code.
    pub text: String,
    /// Commands for it, in their order, as a shell takes them.
    pub commands: Vec<String>,
}

impl Todo {
    fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), commands: Vec::new() }
    }

    fn by(text: impl Into<String>, commands: impl IntoIterator<Item = String>) -> Self {
        Self { text: text.into(), commands: commands.into_iter().collect() }
    }
}

const PASSWORDS: &str = "If somebody can't log in on a new device, use `reset-password` in the admin room: a stock Conduit can't verify \
                         Synapse's password hashes.";
const PROXY: &str = "Point the reverse proxy at Conduit, with the rule that this command prints (or for `caddy`, `traefik`, `apache`, \
                     `haproxy`): clients keep Synapse's pagination tokens, which a stock Conduit refuses; without the rule they can't \
                     scroll back beyond the messages that they have. Keep the rule for a year, or for as long as somebody may come back \
                     with a client that was last opened before the move.";

/// The list, for the end of a run.
pub(super) fn list(outcome: &Outcome<'_>, dump: &Path, later: &Later) -> Vec<Todo> {
    let directory = &outcome.database.directory;
    let server = outcome.target;
    if !outcome.database.complete {
        return vec![
            Todo::new(format!(
                "Don't start {server}: verification failed. The database is kept in `{}` for inspection; the next run \
                 removes it.",
                unfinished(directory).display()
            )),
            Todo::new("Read the errors, and report what you can't explain."),
        ];
    }
    let skipped = |kind, reason: &str| {
        let skips = outcome.imported.skipped.iter();
        skips
            .filter(|skip| skip.kind == kind && (reason.is_empty() || skip.reason == reason))
            .count()
    };
    let has = |code: &str| outcome.findings.iter().any(|finding| finding.code == code);
    let mut list = vec![Todo::new("Keep Synapse and all its workers stopped.")];
    let rooms = skipped(Kind::Room, "");
    if rooms > 0 {
        list.push(Todo::new(format!(
            "{} stayed behind; the report lists them with the reasons. If anybody needs them: start Synapse instead of {server}, \
             repair them there (upgrade those of old room versions), and migrate again.",
            count(rooms, "room")
        )));
    }
    list.push(ownership(outcome));
    if outcome.media.uploaded {
        list.push(Todo::new(format!(
            "Upload what is in `{}` to Conduit's bucket, below the bucket's `path` if it has one.",
            outcome.media.directory.display()
        )));
    }
    if has("C204") {
        list.push(Todo::new(
            "Keep registration closed until you have registered the first account: it becomes the administrator.",
        ));
    }
    list.push(proxy(outcome));
    list.push(start(server, Path::new("/")));
    let services = skipped(Kind::Appservice, "");
    if services > 0 {
        list.push(Todo::new(format!(
            "Register {} in {server}'s admin room: {}.",
            count(services, "application service"),
            server.words("`register-appservice`")
        )));
    }
    let tokens = skipped(Kind::AccessToken, "token-expires");
    if tokens > 0 {
        list.push(Todo::new(format!(
            "Tell the users of {} with an expiring login to log in again.",
            count(tokens, "device")
        )));
    }
    let passwords = outcome.imported.written.get(&Kind::PasswordHash).copied().unwrap_or(0);
    if passwords > 0 {
        list.push(Todo::new(server.words(PASSWORDS)));
    }
    let is_later = later.events > 0 || later.uncounted;
    if is_later {
        list.push(fetch(outcome, later));
    }
    if later.lost_events > 0 {
        list.push(Todo::new(lost(later)));
    }
    let until = if is_later || later.lost_events > 0 {
        "Synapse's data is the only copy of that history, so keep it. Keep it and"
    } else {
        "Keep Synapse's data and"
    };
    let fetched = if is_later { " all of that history has been fetched and" } else { "" };
    list.push(Todo::new(format!(
        "{until} `{}` until{fetched} nobody misses anything, then delete both: they hold password hashes, access tokens \
         and the signing key.",
        normal(dump).display()
    )));
    list
}

/// Whose the files must be.
fn ownership(outcome: &Outcome<'_>) -> Todo {
    let (directory, media) = (&outcome.database.directory, &outcome.media.directory);
    let mut owned = word(directory.display());
    if !outcome.media.uploaded && !media.starts_with(directory) {
        owned = format!("{owned} {}", word(media.display()));
    }
    let server = outcome.target;
    let known = user(server, &fs::read_to_string("/etc/passwd").unwrap_or_default());
    let taken = match server {
        Dialect::Conduit => "conduit",
        Dialect::Continuwuity => "continuwuity",
    };
    let mut text = format!("Change the owner of the new files to the user that {server} runs as");
    text += &known.map_or_else(|| format!(", here taken to be `{taken}`:"), |_| ".".to_owned());
    if server == Dialect::Continuwuity && known.is_none() {
        text += " Debian's package needs none of it in `/var/lib/conduwuit`: its unit has no lasting user, and systemd gives it these files.";
    }
    Todo::by(text, [format!("chown -R {}: {owned}", known.unwrap_or(taken))])
}

/// The rule that keeps Synapse's tokens away.
fn proxy(outcome: &Outcome<'_>) -> Todo {
    let server = outcome.target;
    let listen = outcome.listen.unwrap_or_else(|| default_address(server));
    let (direction, target) = match server {
        Dialect::Conduit => (Direction::ToConduit, ""),
        Dialect::Continuwuity => (Direction::ToContinuwuity, " --target continuwuity"),
    };
    let elsewhere = (listen != direction.upstream()).then_some(listen);
    let upstream = elsewhere.map(|listen| format!(" --upstream {listen}")).unwrap_or_default();
    Todo::by(
        server.words(PROXY),
        [format!("{} proxy-config --for nginx{target}{upstream}", outcome.program)],
    )
}

/// Where the server listens if its configuration does not say it.
fn default_address(server: Dialect) -> SocketAddr {
    match server {
        Dialect::Conduit => Direction::ToConduit.upstream(),
        Dialect::Continuwuity => ([127, 0, 0, 1], 8008).into(),
    }
}

/// How the server is started, if systemd knows it. `root` is where the system's files are.
pub(super) fn start(server: Dialect, root: &Path) -> Todo {
    let text = server.words("Start Conduit, and look at its log and at your rooms.");
    let units: &[&str] = match server {
        Dialect::Conduit => &["matrix-conduit", "conduit"],
        Dialect::Continuwuity => &["continuwuity", "conduwuit"],
    };
    let places = ["etc/systemd/system", "usr/lib/systemd/system", "lib/systemd/system"];
    let unit = units.iter().find(|unit| {
        let file = format!("{unit}.service");
        places.iter().any(|place| {
            root.join(place).join(&file).is_symlink() || root.join(place).join(&file).is_file()
        })
    });
    let Some(unit) = unit else { return Todo::new(text) };
    // What `systemctl mask` leaves.
    let mask = root.join("etc/systemd/system").join(format!("{unit}.service"));
    let is_masked = fs::read_link(mask).is_ok_and(|there| there == Path::new("/dev/null"));
    let unmask = is_masked.then(|| format!("systemctl unmask {unit}"));
    let start = [format!("systemctl enable --now {unit}"), format!("journalctl -u {unit} -f")];
    Todo::by(text, unmask.into_iter().chain(start))
}

/// The user that the server's packages and guides run it as, if there is one on this machine.
pub(super) fn user(server: Dialect, passwd: &str) -> Option<&'static str> {
    let users: &[&str] = match server {
        Dialect::Conduit => &["_matrix-conduit", "matrix-conduit", "conduit"],
        Dialect::Continuwuity => &["continuwuity", "conduwuit"],
    };
    let is_here = |user: &&str| passwd.lines().any(|line| line.split(':').next() == Some(user));
    users.iter().copied().find(is_here)
}

/// How history that is left for later is fetched.
fn fetch(outcome: &Outcome<'_>, later: &Later) -> Todo {
    let what = if later.uncounted {
        "The dump was made with `--history recent`: events older than each room's newest ones"
            .to_owned()
    } else {
        format!(
            "The dump was made with `--history recent`: {} of {} (see the table of rooms)",
            count(later.events, "older event"),
            count(later.rooms, "room")
        )
    };
    let server = outcome.target;
    let refused = match later.unbegun_threads {
        0 => String::new(),
        // Continuwuity takes them.
        _ if server == Dialect::Continuwuity => String::new(),
        threads => format!(
            " Until then, a stock Conduit answers replies in {} with an error (400), because the thread's first event is missing.",
            count(threads, "thread")
        ),
    };
    let program = outcome.program;
    let absolute =
        |path: &Path| word(std::path::absolute(path).as_deref().unwrap_or(path).display());
    let mut files: Vec<String> = outcome.synapse_config.iter().map(|file| absolute(file)).collect();
    let key = outcome.signing_key.map_or_else(|| "KEY".to_owned(), absolute);
    let unknown = match (files.is_empty(), outcome.signing_key.is_none()) {
        (true, true) => " `CONFIG` and `KEY` stand for Synapse's configuration and signing key.",
        (true, false) => " `CONFIG` stands for Synapse's configuration.",
        (false, true) => " `KEY` stands for Synapse's signing key.",
        (false, false) => "",
    };
    if files.is_empty() {
        files.push("CONFIG".into());
    }
    // Not at the new server's address: the proxy would lead people there.
    let mut address = quiet_config::LISTEN;
    let mut listen = String::new();
    if outcome.listen.is_some_and(|conduits| conduits.port() == address.port()) {
        address.set_port(address.port().saturating_add(1));
        listen = format!(" --listen {address}");
    }
    let each = |option: &str| -> String {
        files.iter().flat_map(|file| [" ", option, " ", file.as_str()]).collect()
    };
    let mapped: String =
        outcome.map_path.iter().flat_map(|option| [" ", option.as_str()]).collect();
    let where_it_runs = if mapped.is_empty() {
        ""
    } else {
        " Synapse's configuration has the paths of a container: run the second command in the container."
    };
    let or_drain = match server {
        Dialect::Conduit => ", or `importer drain` with a patched Conduit that runs",
        Dialect::Continuwuity => "",
    };
    Todo::by(
        format!(
            "{what} can't be scrolled to yet.{refused} To fetch them, start the old Synapse with the configuration that the \
             first command prints: it sends nothing and nobody else can reach it. Then stop {server} and run `importer backfill`\
             {or_drain}. Repeat it until it prints that nothing is missing.\
             {unknown}{where_it_runs}",
        ),
        [
            format!(
                "{program} quiet-config{listen}{}{mapped} > quiet.yaml",
                each("--synapse-config")
            ),
            format!("synapse_homeserver{} -c quiet.yaml", each("-c")),
            format!(
                "{program} backfill --database {} --homeserver http://{address} --signing-key {key}",
                word(outcome.database.directory.display())
            ),
        ],
    )
}

/// What can't be fetched.
fn lost(later: &Later) -> String {
    format!(
        "{} of {} can't be fetched later: Synapse serves no history over federation for rooms that all \
         its local users have left. If anybody needs these events, migrate again with `--history full`.",
        count(later.lost_events, "older event"),
        count(later.lost_rooms, "room")
    )
}
