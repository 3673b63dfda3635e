//! `importer proxy-config` with the real proxies, where they are installed: what they pass on of a request.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use migration_tests::{command, skip};

/// Tries until the proxy answers.
const ATTEMPTS: usize = 200;

/// A homeserver that answers with what it was asked for: path and query as they came.
fn homeserver() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(|| answer(stream.unwrap()));
        }
    });
    address
}

fn answer(mut stream: TcpStream) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    let Some(request) = lines.next() else { return };
    lines.take_while(|line| !line.is_empty()).for_each(drop);
    let asked = request.split(' ').nth(1).unwrap_or_default();
    let length = asked.len();
    let answer =
        format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{asked}");
    drop(stream.write_all(answer.as_bytes()));
}

/// A proxy that ends with the test.
struct Running {
    process: Child,
    address: SocketAddr,
    directory: tempfile::TempDir,
}

impl Drop for Running {
    fn drop(&mut self) {
        // To be ended with its children, which a kill would leave behind.
        drop(Command::new("kill").arg(self.process.id().to_string()).status());
        drop(self.process.wait());
    }
}

/// What makes a proxy's whole configuration of the printed piece, in a directory and at an address, and starts it.
struct Proxy {
    name: &'static str,
    program: &'static str,
    config: fn(&str, SocketAddr, &Path) -> String,
    arguments: fn(&str) -> Vec<String>,
}

const PROXIES: [Proxy; 4] = [
    Proxy {
        name: "nginx",
        program: "nginx",
        config: nginx,
        arguments: |file| owned(&["-c", file]),
    },
    Proxy {
        name: "caddy",
        program: "caddy",
        config: caddy,
        arguments: |file| owned(&["run", "--adapter", "caddyfile", "--config", file]),
    },
    Proxy {
        name: "apache",
        program: "apache2",
        config: apache,
        arguments: |file| owned(&["-DFOREGROUND", "-f", file]),
    },
    Proxy {
        name: "haproxy",
        program: "haproxy",
        config: haproxy,
        arguments: |file| owned(&["-db", "-f", file]),
    },
];

fn owned(arguments: &[&str]) -> Vec<String> {
    arguments.iter().map(|argument| (*argument).to_owned()).collect()
}

fn nginx(piece: &str, address: SocketAddr, directory: &Path) -> String {
    let (maps, location) = piece.split_once("# In `server`").unwrap();
    let here = directory.display();
    let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {here}/{kind};\n"))
        .concat();
    format!(
        "daemon off;\npid {here}/pid;\nerror_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n{paths}{maps}\n\
         server {{\nlisten {address};\n# {location}\nlocation / {{ proxy_pass {UPSTREAM}; }}\n}}\n}}\n"
    )
}

fn caddy(piece: &str, address: SocketAddr, _directory: &Path) -> String {
    let (port, ip) = (address.port(), address.ip());
    format!("{{\nadmin off\nauto_https off\n}}\n:{port} {{\nbind {ip}\n{piece}\n}}\n")
}

fn apache(piece: &str, address: SocketAddr, directory: &Path) -> String {
    let here = directory.display();
    let modules = ["mpm_event", "authz_core", "proxy", "proxy_http", "rewrite"]
        .map(|name| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"))
        .concat();
    format!(
        "ServerRoot {here}\nPidFile {here}/pid\nServerName localhost\nErrorLog {here}/log\nListen {address}\n{modules}\
         <VirtualHost {address}>\n{piece}\n</VirtualHost>\n"
    )
}

fn haproxy(piece: &str, address: SocketAddr, _directory: &Path) -> String {
    format!(
        "defaults\nmode http\ntimeout client 9s\ntimeout server 9s\ntimeout connect 9s\nfrontend matrix\nbind {address}\n{piece}\n\
         default_backend homeserver\nbackend homeserver\nserver homeserver {UPSTREAM_ADDRESS}\n"
    )
}

/// Stands for the homeserver where the printed piece doesn't name it.
const UPSTREAM_ADDRESS: &str = "UPSTREAM";
const UPSTREAM: &str = "http://UPSTREAM";

impl Proxy {
    /// Starts it with the printed piece. `None`, which is said: it is not installed.
    fn start(&self, homeserver: SocketAddr, more: &[&str]) -> Option<Running> {
        let Some(program) = installed(self.program) else {
            skip::skipped(&format!("`{}` is not installed", self.program));
            return None;
        };
        let upstream = homeserver.to_string();
        let mut arguments = vec!["proxy-config", "--for", self.name, "--upstream", &upstream];
        arguments.extend(more);
        let printed = command::new().unwrap().args(arguments).output().unwrap();
        assert!(printed.status.success(), "{printed:?}");
        let piece = String::from_utf8(printed.stdout).unwrap();

        let directory = tempfile::tempdir().unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let file = directory.path().join("config");
        let config = (self.config)(&piece, address, directory.path());
        fs::write(&file, config.replace(UPSTREAM_ADDRESS, &upstream)).unwrap();
        let log = fs::File::create(directory.path().join("output")).unwrap();
        let process = Command::new(program)
            .args((self.arguments)(&file.to_string_lossy()))
            .env("XDG_DATA_HOME", directory.path())
            .env("XDG_CONFIG_HOME", directory.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let running = Running { process, address, directory };
        running.wait(self.name);
        Some(running)
    }
}

impl Running {
    fn wait(&self, name: &str) {
        for _ in 0..ATTEMPTS {
            if TcpStream::connect(self.address).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let output = fs::read_to_string(self.directory.path().join("output"));
        panic!("{name} does not answer: {output:?}");
    }

    /// What the homeserver is asked for.
    fn passes(&self, target: &str) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        write!(stream, "GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split_once("\r\n\r\n").unwrap_or_default().1.to_owned()
    }
}

/// The program, which may be where only root looks.
fn installed(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places: Vec<_> = std::env::split_paths(&path).collect();
    places.extend(["/usr/sbin".into(), "/usr/bin".into(), "/usr/local/bin".into()]);
    places.into_iter().map(|place| place.join(program)).find(|path| path.is_file())
}

/// Path and parameters, encoded as they came. What parameters do not say does not count: an `&` too many, `!` for `%21`.
fn meaning(target: &str) -> (String, Vec<String>) {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let parameters = query.split('&').filter(|parameter| !parameter.is_empty());
    (path.replace("%21", "!"), parameters.map(ToOwned::to_owned).collect())
}

fn expect(more: &[&str], cases: &[(&str, &str)]) {
    let homeserver = homeserver();
    for proxy in &PROXIES {
        let Some(running) = proxy.start(homeserver, more) else { continue };
        for (asked, expected) in cases {
            let passed = running.passes(asked);
            assert_eq!(meaning(&passed), meaning(expected), "{}: {asked}: {passed}", proxy.name);
        }
    }
}

const ROOM: &str = "/_matrix/client/v3/rooms/!a%2Fb:own.test";

fn cases(cases: &[(String, String)]) -> Vec<(&str, &str)> {
    cases.iter().map(|(asked, expected)| (asked.as_str(), expected.as_str())).collect()
}

#[test]
fn synapses_tokens_are_kept_away_from_conduit() {
    let filter = "filter=%7B%22a%22%3A%22b%26from%3Dt1%22%7D";
    let of = |asked: &str, expected: &str| {
        (format!("{ROOM}/messages{asked}"), format!("{ROOM}/messages{expected}"))
    };
    let messages = [
        // First, in the middle, last, alone; each kind of token that says where it points to.
        of(
            &format!("?from=t87-87_8_0_1%7E&dir=b&{filter}"),
            &format!("?from=9500000000871&dir=b&{filter}"),
        ),
        of("?dir=b&from=s12_3&limit=3", "?dir=b&from=9500000000121&limit=3"),
        of("?dir=b&from=t1-123456789", "?dir=b&from=9501234567891"),
        of("?from=s7", "?from=9500000000071"),
        of(
            "?to=t1-2&dir=b&from=t87-87_8&limit=3",
            "?to=9500000000021&dir=b&from=9500000000871&limit=3",
        ),
        // What doesn't say so, or points too far.
        of("?dir=b&from=p5", "?dir=b"),
        of("?from=m56~2.57", ""),
        of("?to=t5--12_3&dir=b", "?dir=b"),
        of("?from=s1234567890&to=s-3", ""),
        // Conduit's own; and what only looks like one of Synapse's.
        of("?from=123&dir=b&to=-45", "?from=123&dir=b&to=-45"),
        of("?xfrom=t2&dir=b", "?xfrom=t2&dir=b"),
        of("?dir=b&x=from=t1", "?dir=b&x=from=t1"),
        of("?from=tx&dir=b", "?from=tx&dir=b"),
        of("", ""),
    ];
    let mut all = messages.to_vec();
    for version in ["r0", "v1"] {
        let path = format!("/_matrix/client/{version}/rooms/!ab:own.test/messages");
        all.push((format!("{path}?from=t1-2&dir=b"), format!("{path}?from=9500000000021&dir=b")));
    }
    // What relates to an event, such as a thread.
    for path in [
        "/_matrix/client/v1/rooms/!ab:own.test/relations/$e",
        "/_matrix/client/v1/rooms/!a%2Fb:own.test/relations/$e%2Ff/m.thread/m.room.message",
        "/_matrix/client/unstable/rooms/!ab:own.test/relations/$e/m.thread",
    ] {
        all.push((
            format!("{path}?from=t1-2_3&dir=b&to=s4"),
            format!("{path}?from=9500000000021&dir=b&to=9500000000041"),
        ));
        all.push((format!("{path}?from=123&dir=b"), format!("{path}?from=123&dir=b")));
    }
    // The list of threads has another order than Synapse's.
    let threads = "/_matrix/client/v1/rooms/!ab:own.test/threads";
    for token in ["5_12", "t1-2_3"] {
        all.push((format!("{threads}?from={token}&limit=3"), format!("{threads}?limit=3")));
    }
    all.push((format!("{threads}?from=123"), format!("{threads}?from=123")));
    // Everything else is passed on as it is.
    for other in [
        format!("{ROOM}/context/$a?from=t1"),
        "/_matrix/client/v3/sync?since=s12_3&timeout=0".to_owned(),
        "/_matrix/client/v3/publicRooms?since=n10".to_owned(),
    ] {
        all.push((other.clone(), other));
    }
    expect(&[], &cases(&all));
}

/// What Continuwuity is asked for instead of what is new since a place in Synapse's stream.
const FIRST: &str = "timeout=0&filter=%7B%22room%22%3A%7B%22timeline%22%3A%7B%22limit%22%3A1%7D%2C%22state%22%3A%7B%22lazy_load_members%22%3Atrue%7D%7D%7D";

#[test]
fn clients_of_continuwuity_begin_with_one_message_of_each_room() {
    let sync = "/_matrix/client/v3/sync";
    let mut all = Vec::new();
    for first in [
        "?since=s12_3&timeout=30000",
        "?filter=0&timeout=0&since=s87_8_0_1~7.2&set_presence=offline",
        "?filter=%7B%22a%22%3A1%7D&since=s1_2",
        "?since=s1_2",
    ] {
        all.push((format!("{sync}{first}"), format!("{sync}?{FIRST}")));
    }
    all.push((
        "/_matrix/client/r0/sync?since=s1_2".to_owned(),
        format!("/_matrix/client/r0/sync?{FIRST}"),
    ));
    for other in [
        // Without a place, and with one of Continuwuity's.
        sync.to_owned(),
        format!("{sync}?filter=0&timeout=0"),
        format!("{sync}?since=9500000000121&filter=0"),
        format!("{sync}?filter=0&x=since=s1_2"),
        format!("{sync}?xsince=s1_2"),
        "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync?pos=5/s1_2".to_owned(),
        "/_matrix/client/v3/publicRooms?since=s1_2".to_owned(),
    ] {
        all.push((other.clone(), other));
    }
    all.push((
        format!("{ROOM}/messages?dir=b&from=s12_3&limit=3"),
        format!("{ROOM}/messages?dir=b&from=9500000000121&limit=3"),
    ));
    all.push((
        "/_matrix/client/v1/rooms/!ab:own.test/threads?from=5_12&limit=3".to_owned(),
        "/_matrix/client/v1/rooms/!ab:own.test/threads?limit=3".to_owned(),
    ));
    expect(&["--target", "continuwuity"], &cases(&all));
}

#[test]
fn conduits_tokens_are_kept_away_from_synapse() {
    let sync = "/_matrix/client/v3/sync";
    let sliding = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync";
    let all: Vec<(String, String)> = [
        (format!("{sync}?since=123&timeout=0"), format!("{sync}?timeout=0")),
        (format!("{sync}?timeout=0&since=123"), format!("{sync}?timeout=0")),
        (format!("{sync}?since=123"), sync.to_owned()),
        (format!("{sync}?since=s12_3&timeout=0"), format!("{sync}?since=s12_3&timeout=0")),
        (format!("{sync}?since=12x&timeout=0"), format!("{sync}?since=12x&timeout=0")),
        (format!("{sliding}?pos=7&timeout=0"), format!("{sliding}?timeout=0")),
        (format!("{sliding}?pos=7/s12_3&timeout=0"), format!("{sliding}?pos=7/s12_3&timeout=0")),
        (
            format!("{ROOM}/messages?from=123&dir=b&to=-4&limit=30"),
            format!("{ROOM}/messages?dir=b&limit=30"),
        ),
        (
            format!("{ROOM}/messages?from=t1-2&limit=30"),
            format!("{ROOM}/messages?from=t1-2&limit=30"),
        ),
        (
            "/_matrix/client/v1/rooms/!a:own.test/relations/$e/m.thread?from=9&dir=b".to_owned(),
            "/_matrix/client/v1/rooms/!a:own.test/relations/$e/m.thread?dir=b".to_owned(),
        ),
        (
            "/_matrix/client/v1/rooms/!a:own.test/threads?from=9&limit=3".to_owned(),
            "/_matrix/client/v1/rooms/!a:own.test/threads?limit=3".to_owned(),
        ),
        (
            "/_matrix/client/v1/rooms/!a:own.test/threads?from=9_12&limit=3".to_owned(),
            "/_matrix/client/v1/rooms/!a:own.test/threads?from=9_12&limit=3".to_owned(),
        ),
        // Numbers are Synapse's own tokens there.
        (
            "/_matrix/client/v3/notifications?from=123".to_owned(),
            "/_matrix/client/v3/notifications?from=123".to_owned(),
        ),
        (
            "/_matrix/client/v3/keys/changes?from=s1&to=s2".to_owned(),
            "/_matrix/client/v3/keys/changes?from=s1&to=s2".to_owned(),
        ),
    ]
    .into();
    expect(&["--back"], &cases(&all));
}
