//! A Synapse that only answers what it is asked, for the time in which a Conduit still fetches from it.

use std::{
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    path::PathBuf,
};

use ruma::ServerName;

use crate::fs::hints;

/// Where it listens, unless told otherwise.
pub const LISTEN: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 8008));

/// A second file of configuration: its top-level keys replace those of the first. With it, nothing leaves Synapse on
/// its own: neither federation nor pushes, mails or anything to application services, not even what was waiting when
/// it was stopped; and nobody can change anything through it. `given` are the files and directories that Synapse is
/// started with otherwise.
pub fn overlay(server_name: &ServerName, given: &[PathBuf], listen: SocketAddr) -> String {
    let given = given.iter().map(|path| format!("-c {} ", hints::word(path.display())));
    let given = given.collect::<Vec<_>>().concat();
    let (address, port) = (listen.ip(), listen.port());
    format!(
        r#"# The old Synapse of {server_name}, for as long as Conduit fetches history from it: it answers, and does nothing on
# its own. Start it with the files that it had, and this one last:
#   synapse_homeserver {given}-c quiet.yaml
# Stop all workers; this is for one process. Let nobody but Conduit reach the address below.
listeners:
  - port: {port}
    bind_addresses: ["{address}"]
    type: http
    tls: false
    resources: [{{names: [client, federation], compress: false}}]
# It talks to itself alone, which is whom Conduit asks as.
federation_domain_whitelist: ["{server_name}"]
# Conduit is the one that asks.
rc_federation: {{window_size: 1000, sleep_limit: 1000000, sleep_delay: 0, reject_limit: 1000000, concurrent: 20}}
# After a dump through the APIs everybody logs in anew, and Conduit asks for all of them from one address. Who guesses an
# account's password is still slowed down (`failed_attempts` stays as it is by default).
rc_login:
  address: {{per_second: 1000, burst_count: 100000}}
  account: {{per_second: 1, burst_count: 100}}
# Nothing is sent: "another process does that".
federation_sender_instances: []
pusher_instances: []
notify_appservices_from_worker: nobody
run_background_tasks_on: nobody
update_user_directory_from_worker: nobody
email: null
server_notices: null
presence: {{enabled: false}}
url_preview_enabled: false
# There are no other processes.
instance_map: {{}}
stream_writers: {{}}
redis: {{enabled: false}}
modules: []
# Nothing is deleted.
retention: {{enabled: false}}
media_retention: {{}}
redaction_retention_period: null
# Nobody comes in, nothing is said.
enable_registration: false
enable_registration_without_verification: false
registration_shared_secret: null
allow_guest_access: false
# Only if Conduit is to ask it for passwords (its database came from a dump through the APIs), remove these two.
hs_disabled: true
hs_disabled_message: This server has moved
"#
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use ruma::server_name;
    use serde_json::Value;

    use super::{PathBuf, overlay};

    #[test]
    fn the_overlay_is_yaml_with_the_name_and_the_address() {
        let given = ["/etc/a.yaml", "/etc/conf d"].map(PathBuf::from);
        let text = overlay(server_name!("example.org:8448"), &given, "[::1]:8010".parse().unwrap());
        assert!(
            text.contains(
                "\n#   synapse_homeserver -c /etc/a.yaml -c '/etc/conf d' -c quiet.yaml\n"
            ),
            "{text}"
        );
        let keys: BTreeMap<String, Value> = serde_saphyr::from_str(&text).unwrap();
        let listener = &keys["listeners"][0];
        assert_eq!(listener["port"], 8010);
        assert_eq!(listener["bind_addresses"], serde_json::json!(["::1"]));
        let whitelist = serde_json::json!(["example.org:8448"]);
        assert_eq!(keys["federation_domain_whitelist"], whitelist);
        assert_eq!(keys["federation_sender_instances"], serde_json::json!([]));
        // Many users come from Conduit's one address, each with several devices.
        assert_eq!(keys["rc_login"]["address"]["burst_count"], 100_000);
        assert_eq!(keys["rc_login"]["account"]["burst_count"], 100);
        assert_eq!(keys["rc_login"].get("failed_attempts"), None);
    }
}
