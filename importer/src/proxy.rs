//! Reverse proxies: a piece of configuration that keeps away from a homeserver the tokens which clients have from the one
//! before it.
//!
//! Clients keep pagination tokens in their stores for as long as they live. Synapse's begin with a letter and a number
//! (`t87-87_8_0_1`, `s12_3`, `p5`, `m56~2.57`; `synapse/types`), Conduit's are numbers, negative ones too
//! (src/service/rooms/timeline/data.rs). Either server answers the other's tokens with 400, and clients ask again for ever:
//! in a room with such a gap they never get further.
//!
//! For Conduit most of Synapse's are rewritten into its own, which the import allows for: a token says by itself where in a
//! timeline it points to ([`conduit_backfill::predecessor::token::count`]). Without a token, a server begins at the newest message; most
//! clients put together what they know already, but not all.

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
};

/// Which server gets requests without the other's tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Conduit, after the move.
    ToConduit,
    /// Continuwuity, after the move.
    ToContinuwuity,
    /// Synapse, when Conduit has answered clients in between.
    BackToSynapse,
}

/// A reverse proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Proxy {
    /// nginx 1.15 or later
    Nginx,
    /// Caddy 2.6 or later
    Caddy,
    /// Traefik 3 or later, by a redirect
    Traefik,
    /// Apache 2.4 with `mod_rewrite` and `mod_proxy_http`
    Apache,
    /// HAProxy 2.2 or later
    Haproxy,
}

/// What is done to requests, and what is said about it.
struct Rule {
    /// One after the other.
    steps: &'static [Step],
    /// Where requests can be that a step changes.
    path: &'static str,
    /// What is printed above.
    about: &'static str,
}

/// One change to parameters.
struct Step {
    /// What it does, in a word that names can end with.
    name: &'static str,
    /// Names of the parameters.
    names: &'static [&'static str],
    /// The path, decoded, as a regular expression. Room ids can have slashes.
    path: &'static str,
    /// The whole value, as a regular expression. What is kept of it is in its only group.
    value: &'static str,
    change: Change,
}

enum Change {
    /// The value becomes what is kept, between these.
    Put(&'static str, &'static str),
    /// The parameter is taken out.
    Drop,
    /// This takes the place of all parameters.
    Query(&'static str),
}

impl Change {
    /// What comes after the value: a group, without the `&` that goes with the parameter.
    fn tail(&self) -> &'static str {
        match self {
            Self::Put(..) => "(&.*)?",
            Self::Drop => "(?:&(.*))?",
            Self::Query(_) => "(?:&.*)?",
        }
    }

    /// What comes before the value: with a group for all that is kept of it.
    fn head(&self, all: &'static str, without_query: &'static str) -> &'static str {
        match self {
            Self::Put(..) | Self::Drop => all,
            Self::Query(_) => without_query,
        }
    }

    /// What is written in a proxy's language: `put` with what comes before and after that which is kept, `drop`, or `query`
    /// with the parameters.
    fn written(
        &self,
        drop: &str,
        put: impl FnOnce(&str, &str) -> String,
        query: impl FnOnce(&str) -> String,
    ) -> String {
        match self {
            Self::Put(before, after) => put(before, after),
            Self::Drop => drop.to_owned(),
            Self::Query(parameters) => query(parameters),
        }
    }
}

/// Paths with pagination tokens.
const PAGES: &str =
    "^/_matrix/client/(r0|v1|v3|unstable)/rooms/.+/(messages|threads|relations/.+)$";
/// Those of which Conduit's tokens are counts of events.
const COUNTED: &str = "^/_matrix/client/(r0|v1|v3|unstable)/rooms/.+/(messages|relations/.+)$";

/// Pages, and what is new.
const PAGES_AND_SYNC: &str =
    "^/_matrix/client/((r0|v3)/sync|(r0|v1|v3|unstable)/rooms/.+/(messages|threads|relations/.+))$";

/// A stream position gets nine digits: nine noughts are put before it, and all but the last nine digits are taken away. Then
/// it is made the number between the count of the event at that place and the next one.
const PLACE: Step = Step {
    name: "place",
    names: &["from", "to"],
    path: COUNTED,
    value: "(?:s|t[0-9]+-)([0-9]{1,9})(?:_[^&]*)?",
    change: Change::Put("@000000000", ""),
};
const COUNT: Step = Step {
    name: "count",
    names: &["from", "to"],
    path: COUNTED,
    value: "@0+([0-9]{9})",
    change: Change::Put("950", "1"),
};
const DROP: Step = Step {
    name: "drop",
    names: &["from", "to"],
    path: PAGES,
    value: "(?:[A-Za-z]-?[0-9]|[0-9]+_)[^&]*",
    change: Change::Drop,
};
/// Continuwuity takes a `since` of Synapse's for none, and gives rooms with few events whole, without `limited`
/// (api/client/sync/v3/joined.rs:685-689 of it). A client that knows most of these events puts the others after them, as if they were
/// new. With one event of each room, all rooms are limited, and clients begin anew.
const FIRST_SYNC: Step = Step {
    name: "first",
    names: &["since"],
    path: "^/_matrix/client/(r0|v3)/sync$",
    value: "s[0-9]+_[^&]*",
    change: Change::Query(
        "timeout=0&filter=%7B%22room%22%3A%7B%22timeline%22%3A%7B%22limit%22%3A1%7D%2C%22state%22%3A%7B%22lazy_load_members%22%3Atrue%7D%7D%7D",
    ),
};

const TO_CONDUIT: Rule = Rule {
    path: PAGES,
    steps: &[PLACE, COUNT, DROP],
    about: "For Conduit after Synapse: clients keep using Synapse's pagination tokens, which a stock Conduit refuses; then\n\
            they can't scroll back beyond the messages that they have, in rooms and threads. This rule turns the tokens that hold\n\
            a position in a room into Conduit's and removes the others. Keep it for as long as anybody may come back with a client\n\
            that was last opened before the move: a year, say. Clients that have tokens of the new server are not affected.",
};

const TO_CONTINUWUITY: Rule = Rule {
    path: PAGES_AND_SYNC,
    steps: &[PLACE, COUNT, DROP, FIRST_SYNC],
    about: "For Continuwuity after Synapse: clients keep using Synapse's pagination tokens, which Continuwuity refuses; then\n\
            they can't scroll back beyond the messages that they have, in rooms and threads. This rule turns the tokens that hold\n\
            a position in a room into Continuwuity's and removes the others. Of a client's first request for what is new, it\n\
            has each room begin with one message: otherwise clients take old messages of small rooms for new ones. Keep it for\n\
            as long as anybody may come back with a client that was last opened before the move: a year, say. Clients that have\n\
            tokens of the new server are not affected.",
};

/// `/notifications` is not among the paths: there, Synapse's own tokens are numbers.
const BACK_TO_SYNAPSE: Rule = Rule {
    path: BACK,
    steps: &[Step {
        name: "drop",
        names: &["since", "from", "to", "pos"],
        path: BACK,
        value: "-?[0-9]+",
        change: Change::Drop,
    }],
    about: "For Synapse after Conduit: clients that have synced with Conduit keep using its tokens, bare numbers, which\n\
            Synapse always refuses; they would be stuck. Put this rule in place before Synapse starts again, and keep it for as\n\
            long as anybody may come back with a client that was last opened on Conduit: a year, say. Clients that have only\n\
            Synapse's tokens are not affected.",
};
const BACK: &str = "^/_matrix/client/((r0|v3)/sync|(r0|v1|v3|unstable)/rooms/.+/(messages|threads|relations/.+)|unstable/org[.]matrix[.](simplified_)?msc3575/sync)$";

impl Direction {
    /// Where the homeserver is supposed that gets the requests.
    pub fn upstream(self) -> SocketAddr {
        let port = match self {
            Self::ToConduit => 6167,
            Self::ToContinuwuity | Self::BackToSynapse => 8008,
        };
        (Ipv4Addr::LOCALHOST, port).into()
    }
}

impl Rule {
    /// A text for each parameter of each step.
    fn each(&self, mut text: impl FnMut(&Step, &str) -> String) -> String {
        let steps = self.steps.iter();
        steps.flat_map(|step| step.names.iter().map(move |name| (step, *name))).fold(
            String::new(),
            |all, (step, name)| {
                let piece = text(step, name);
                let piece = piece.replace("@STEP@", &format!("{}_{name}", step.name));
                all + &piece
                    .replace("@PATH@", step.path)
                    .replace("@INNER@", inner(step.path))
                    .replace("@NAME@", name)
                    .replace("@TAIL@", step.change.tail())
                    .replace("@VALUE@", step.value)
            },
        )
    }
}

/// A pattern without its ends.
fn inner(pattern: &str) -> &str {
    pattern.trim_start_matches('^').trim_end_matches('$')
}

/// The piece of configuration for a proxy, which passes requests on to the homeserver at `upstream`.
pub fn config(proxy: Proxy, direction: Direction, upstream: impl fmt::Display) -> String {
    let rule = match direction {
        Direction::ToConduit => &TO_CONDUIT,
        Direction::ToContinuwuity => &TO_CONTINUWUITY,
        Direction::BackToSynapse => &BACK_TO_SYNAPSE,
    };
    let piece = match proxy {
        Proxy::Nginx => nginx(rule),
        Proxy::Caddy => caddy(rule),
        Proxy::Traefik => traefik(rule),
        Proxy::Apache => apache(rule),
        Proxy::Haproxy => haproxy(rule),
    };
    let about = rule.about.lines().map(|line| format!("# {line}\n")).collect::<Vec<_>>().concat();
    let piece = piece.replace("@PATH@", rule.path).replace("@UPSTREAM@", &upstream.to_string());
    format!("{about}{piece}")
}

/// A pattern of which nothing is kept.
fn groupless(pattern: &str) -> String {
    pattern.replace('(', "(?:")
}

/// Maps, as `set` in an `if` would encode once more what is encoded already.
fn nginx(rule: &Rule) -> String {
    let mut uri = "$request_uri".to_owned();
    let maps = rule.each(|step, name| {
        let next = format!("$matrix_{}_{name}", step.name);
        let to = step.change.written(
            "$head$tail",
            |before, after| format!("\"${{head}}{name}={before}${{kept}}{after}$tail\""),
            |query| format!("\"$head?{query}\""),
        );
        let head = step
            .change
            .head("(?<head>[^?]*@INNER@[?](?:.*&)?)", "(?<head>[^?]*@INNER@)[?](?:.*&)?");
        let map = include_str!("proxy/nginx-map.conf")
            .replace("@HEAD@", head)
            .replace("@FROM@", &uri)
            .replace("@TO@", &next)
            .replace("@REPLACED@", &to)
            .replace("@INNER@", &groupless(inner(step.path)).replace(".+", "[^?]+"))
            .replace("@VALUE@", &step.value.replacen("([0-9]", "(?<kept>[0-9]", 1))
            .replace(
                "@TAIL@",
                &step.change.tail().replacen("(&", "(?<tail>&", 1).replacen("(.", "(?<tail>.", 1),
            );
        uri = next;
        map
    });
    include_str!("proxy/nginx.conf").replace("@MAPS@", &maps).replace("@URI@", &uri)
}

fn caddy(rule: &Rule) -> String {
    let steps = rule.each(|step, name| {
        let to = step.change.written(
            "",
            |before, after| format!("{name}={before}{{re.matrix_@STEP@.2}}{after}"),
            ToOwned::to_owned,
        );
        let query = step
            .change
            .head("(?:^|&)(@NAME@=@VALUE@)(?:&|$)", "^((?:.*&)?@NAME@=@VALUE@(?:&.*)?)$");
        include_str!("proxy/caddy-step.conf").replace("@QUERY@", query).replace("@REPLACED@", &to)
    });
    include_str!("proxy/caddy.conf").replace("@STEPS@", &steps)
}

/// Traefik changes no queries without a plugin, but it redirects by the whole address.
fn traefik(rule: &Rule) -> String {
    let [router, middleware] =
        [include_str!("proxy/traefik-router.yaml"), include_str!("proxy/traefik-middleware.yaml")];
    let of = |piece: &str| {
        rule.each(|step, name| {
            let to = step.change.written(
                "${1}${2}",
                |before, after| format!("${{1}}{name}={before}${{2}}{after}${{3}}"),
                |query| format!("${{1}}?{query}"),
            );
            let head = step.change.head("([^?]*[?](?:.*&)?)", "([^?]*)[?](?:.*&)?");
            piece.replace("@HEAD@", head).replace("@REPLACED@", &to)
        })
    };
    include_str!("proxy/traefik.yaml")
        .replace("@ROUTERS@", &of(router))
        .replace("@MIDDLEWARES@", &of(middleware))
}

fn apache(rule: &Rule) -> String {
    let steps = rule.each(|step, name| {
        let to = step.change.written(
            "%1%2",
            |before, after| format!("%1{name}={before}%2{after}%3"),
            |query| query.replace('%', "\\%"),
        );
        let head = step.change.head("((?:.*&)?)", "(?:.*&)?");
        include_str!("proxy/apache-step.conf").replace("@HEAD@", head).replace("@REPLACED@", &to)
    });
    include_str!("proxy/apache.conf").replace("@STEPS@", &steps)
}

fn haproxy(rule: &Rule) -> String {
    let steps = rule.each(|step, name| {
        let to = step.change.written(
            "\\1",
            |before, after| format!("\\1{name}={before}\\2{after}"),
            |query| query.replace('%', "%%"),
        );
        let piece = step.change.head(
            include_str!("proxy/haproxy-step.conf"),
            include_str!("proxy/haproxy-query.conf"),
        );
        piece.replace("@REPLACED@", &to)
    });
    include_str!("proxy/haproxy.conf").replace("@STEPS@", &steps)
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;
    use conduit_backfill::predecessor::token::{Place, place};

    use super::{Change, Direction, Proxy, TO_CONDUIT, config};

    /// What the steps put around nine digits is the number to which the same token leads in the import.
    #[test]
    fn the_rule_knows_the_counts_of_the_import() {
        let mut put = TO_CONDUIT.steps.iter().filter_map(|step| match step.change {
            Change::Put(before, after) => Some((before, after)),
            Change::Drop | Change::Query(_) => None,
        });
        let (before, after) = put.next_back().unwrap();
        for stream in [0_u64, 7, 123_456_789, 999_999_999] {
            let count = format!("{before}{stream:09}{after}").parse().unwrap();
            assert_eq!(place(&format!("s{stream}")), Some(Place::Count(count)));
        }
    }

    #[test]
    fn each_piece_names_the_server_and_how_long_it_stays() {
        for proxy in Proxy::value_variants() {
            for (direction, has_since) in [
                (Direction::ToConduit, false),
                (Direction::ToContinuwuity, true),
                (Direction::BackToSynapse, true),
            ] {
                let text = config(*proxy, direction, "127.0.0.1:6167");
                assert!(text.contains("127.0.0.1:6167") && text.contains("a year"), "{text}");
                assert_eq!(text.contains("since"), has_since);
            }
        }
    }

    #[test]
    fn traefiks_piece_is_yaml() {
        let text = config(Proxy::Traefik, Direction::BackToSynapse, "127.0.0.1:8008");
        let yaml: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
        let http = &yaml["http"];
        assert_eq!(
            http["services"]["matrix-old"]["loadBalancer"]["servers"][0]["url"],
            "http://127.0.0.1:8008"
        );
        assert_eq!(http["routers"].as_object().unwrap().len(), 4);
        assert_eq!(
            http["middlewares"]["matrix-drop_pos"]["redirectRegex"]["replacement"],
            "${1}${2}"
        );
    }
}
