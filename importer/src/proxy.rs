//! Reverse proxies: a piece of configuration that keeps away from a homeserver the tokens which clients have from the one
//! before it.
//!
//! Clients keep pagination tokens in their stores for as long as they live. Synapse's begin with a letter and a number
//! (`t87-87_8_0_1`, `s12_3`, `p5`, `m56~2.57`; `synapse/types`), Conduit's are numbers, negative ones too
//! (src/service/rooms/timeline/data.rs). Either server answers the other's tokens with 400, and clients ask again for ever:
//! in a room with such a gap they never get further. Without the token, the server begins at the newest message, and clients
//! put together what they know already.

use std::fmt;

/// Which server gets requests without the other's tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Conduit, after the move.
    ToConduit,
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

/// The parameters that are dropped, and where.
struct Rule {
    /// The path, decoded, as a regular expression. Room ids can have slashes.
    path: &'static str,
    /// Names of parameters.
    names: &'static [&'static str],
    /// Their values that are dropped, as a regular expression.
    value: &'static str,
    /// What is printed above.
    about: &'static str,
}

const TO_CONDUIT: Rule = Rule {
    path: "^/_matrix/client/(r0|v1|v3|unstable)/rooms/.+/(messages|threads|relations/.+)$",
    names: &["from", "to"],
    value: "[A-Za-z][0-9][^&]*",
    about: "For Conduit after Synapse: clients go on asking with Synapse's pagination tokens, which a stock Conduit refuses; then\n\
            they can't scroll back past what they have, in rooms and threads. Keep this for as long as anybody may come back with\n\
            a client that was last opened before the move: a year, say. It does no harm to clients that have Conduit's tokens.",
};

/// `/notifications` is not among the paths: there, Synapse's own tokens are numbers.
const BACK_TO_SYNAPSE: Rule = Rule {
    path: "^/_matrix/client/((r0|v3)/sync|(r0|v1|v3)/rooms/.+/messages|(r0|v1|v3|unstable)/rooms/.+/relations/.+|unstable/org[.]matrix[.](simplified_)?msc3575/sync)$",
    names: &["since", "from", "to", "pos"],
    value: "-?[0-9]+",
    about: "For Synapse after Conduit: clients that have synced with Conduit go on asking with its tokens, bare numbers, which\n\
            Synapse refuses for ever; they would be stuck. Put this in place before Synapse starts again, and keep it for as\n\
            long as anybody may come back with a client that was last opened on Conduit: a year, say. Clients that have only\n\
            Synapse's tokens notice nothing.",
};

/// The piece of configuration for a proxy, which passes requests on to the homeserver at `upstream`.
pub fn config(proxy: Proxy, direction: Direction, upstream: impl fmt::Display) -> String {
    let rule = match direction {
        Direction::ToConduit => &TO_CONDUIT,
        Direction::BackToSynapse => &BACK_TO_SYNAPSE,
    };
    let piece = match proxy {
        Proxy::Nginx => nginx(rule),
        Proxy::Caddy => caddy(rule),
        Proxy::Traefik => traefik(rule),
        Proxy::Apache => apache(rule),
        Proxy::Haproxy => haproxy(rule),
    };
    let about = each(rule.about.lines(), |line| format!("# {line}\n"));
    let piece = piece
        .replace("@PATH@", rule.path)
        .replace("@VALUE@", rule.value)
        .replace("@UPSTREAM@", &upstream.to_string());
    format!("{about}{piece}")
}

/// What is written for each of some texts.
fn each<'a>(texts: impl Iterator<Item = &'a str>, text: impl FnMut(&'a str) -> String) -> String {
    texts.map(text).collect::<Vec<_>>().concat()
}

/// Maps, as `set` in an `if` would encode once more what is encoded already.
fn nginx(rule: &Rule) -> String {
    let mut uri = "$request_uri".to_owned();
    let maps = each(rule.names.iter().copied(), |name| {
        let next = format!("$matrix_without_{name}");
        let map = include_str!("proxy/nginx-map.conf")
            .replace("@FROM@", &uri)
            .replace("@TO@", &next)
            .replace("@NAME@", name);
        uri = next;
        map
    });
    include_str!("proxy/nginx.conf").replace("@MAPS@", &maps).replace("@URI@", &uri)
}

fn caddy(rule: &Rule) -> String {
    let drop = include_str!("proxy/caddy-drop.conf");
    let drops = each(rule.names.iter().copied(), |name| drop.replace("@NAME@", name));
    include_str!("proxy/caddy.conf").replace("@DROPS@", &drops)
}

/// Traefik changes no queries without a plugin, but it redirects by the whole address.
fn traefik(rule: &Rule) -> String {
    let [router, middleware] =
        [include_str!("proxy/traefik-router.yaml"), include_str!("proxy/traefik-middleware.yaml")];
    let of = |piece: &str| each(rule.names.iter().copied(), |name| piece.replace("@NAME@", name));
    include_str!("proxy/traefik.yaml")
        .replace("@ROUTERS@", &of(router))
        .replace("@MIDDLEWARES@", &of(middleware))
}

fn apache(rule: &Rule) -> String {
    let drop = include_str!("proxy/apache-drop.conf");
    let drops = each(rule.names.iter().copied(), |name| drop.replace("@NAME@", name));
    let inner = rule.path.trim_start_matches('^').trim_end_matches('$');
    include_str!("proxy/apache.conf").replace("@DROPS@", &drops).replace("@INNER@", inner)
}

fn haproxy(rule: &Rule) -> String {
    include_str!("proxy/haproxy.conf").replace("@NAMES@", &rule.names.join("|"))
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::{Direction, Proxy, config};

    #[test]
    fn each_piece_names_the_server_and_how_long_it_stays() {
        for proxy in Proxy::value_variants() {
            for direction in [Direction::ToConduit, Direction::BackToSynapse] {
                let text = config(*proxy, direction, "127.0.0.1:6167");
                assert!(text.contains("127.0.0.1:6167") && text.contains("a year"), "{text}");
                assert_eq!(text.contains("since"), direction == Direction::BackToSynapse);
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
            http["middlewares"]["matrix-old-pos"]["redirectRegex"]["replacement"],
            "${1}${2}"
        );
    }
}
