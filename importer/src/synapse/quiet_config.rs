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
        r#"# The old Synapse of {server_name}, for as long as history is fetched from it: it answers requests and
# sends nothing. Start it with its usual configuration files, and this one last:
#   synapse_homeserver {given}-c quiet.yaml
# Stop all workers: this is for a single process. Let nobody but the new server reach the address below.
listeners:
  - port: {port}
    bind_addresses: ["{address}"]
    type: http
    tls: false
    resources: [{{names: [client, federation], compress: false}}]
# Only requests in the server's own name are accepted: Conduit uses that name.
federation_domain_whitelist: ["{server_name}"]
# No rate limit slows Conduit's requests down.
rc_federation: {{window_size: 1000, sleep_limit: 1000000, sleep_delay: 0, reject_limit: 1000000, concurrent: 20}}
# After a dump through the APIs everybody logs in again, and Conduit checks all these passwords from one address. Guessing
# an account's password is still rate-limited (`failed_attempts` keeps its default).
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
# Nobody can register.
enable_registration: false
enable_registration_without_verification: false
registration_shared_secret: null
allow_guest_access: false
# Remove these two only if Conduit is to check passwords with this Synapse (after a dump through the APIs).
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
