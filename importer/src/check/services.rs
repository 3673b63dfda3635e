//! What Synapse does for its users by its configuration, and Conduit by its own does otherwise or not at all.

use std::collections::BTreeMap;

use secrecy::ExposeSecret as _;
use serde_json::Value;

use super::Checks;
use crate::{
    conduit::{config::ConduitService, schema::dialect::Dialect},
    findings::codes::{self, Code},
    synapse::config::{Deployment, Service, SynapseConfig},
};

/// What Conduit has no setting for.
const WITHOUT: [(Service, &Code, &str); 6] = [
    (Service::Retention, &codes::RETENTION, "`retention`"),
    (Service::ExtraWellKnown, &codes::EXTRA_WELL_KNOWN, "`extra_well_known_client_content`"),
    (Service::AutoJoin, &codes::AUTO_JOIN, "`auto_join_rooms`"),
    (Service::Email, &codes::EMAIL, "`email`"),
    (Service::Consent, &codes::CONSENT, "`user_consent`"),
    (Service::Notices, &codes::NOTICES, "`server_notices`"),
];

/// Switches of registrations that Conduit passes over: it sends application services neither changes of device lists nor
/// numbers of one-time keys, and gives them no devices without a login (src/service/sending/mod.rs:520-580,
/// src/api/client_server/device.rs). Synapse reads these names (`synapse/config/appservice.py`).
const BRIDGE_SWITCHES: [&str; 2] = ["io.element.msc4190", "org.matrix.msc3202"];

/// Compares what both servers do.
pub(super) fn check(checks: &mut Checks, conduit: &ConduitService, synapse: Option<&Deployment>) {
    let Some(synapse) = synapse else { return };
    let does = |service| synapse.services.contains(&service);
    if does(Service::Turn) && !conduit.turn {
        let text = match checks.dialect {
            Dialect::Conduit => "is configured, `[global.turn]` is not",
            Dialect::Continuwuity => "is configured, Continuwuity's is not",
        };
        checks.found(&codes::TURN, "`turn_uris`", text);
    }
    if does(Service::FederationWhitelist) && conduit.federation {
        let text = "is configured, and `allow_federation` of Conduit is on";
        checks.found(&codes::FEDERATION_OPEN, "`federation_domain_whitelist`", text);
    }
    if does(Service::MediaRetention) && !conduit.media_retention {
        let text = match checks.dialect {
            Dialect::Conduit => "is configured, `[global.media] retention` is not",
            Dialect::Continuwuity => "is configured",
        };
        checks.found(&codes::MEDIA_RETENTION, "`media_retention`", text);
    }
    if does(Service::Jwt) {
        let (setting, text) = match (checks.dialect, conduit.jwt) {
            (Dialect::Continuwuity, _) => ("`jwt_config`", "is configured"),
            (Dialect::Conduit, true) => ("`jwt_secret` of Conduit", "is set"),
            (Dialect::Conduit, false) => ("`jwt_secret` of Conduit", "is not set"),
        };
        checks.found(&codes::JWT, setting, text);
    }
    if let Some(url) = &synapse.public_baseurl
        && plain(url) != plain(&conduit.client)
    {
        let text = format!("clients got `{url}`, and will get `{}`", conduit.client);
        checks.found(&codes::CLIENT_ADDRESS, "`public_baseurl`", text);
    }
    if !does(Service::ServerWellKnown) {
        let text = match checks.dialect {
            Dialect::Conduit => format!("is off; Conduit will answer `{}`", conduit.server),
            Dialect::Continuwuity => "is off".to_owned(),
        };
        checks.found(&codes::SERVER_ADDRESS, "`serve_server_wellknown`", text);
    }
    for (service, code, key) in WITHOUT {
        if does(service) {
            checks.found(code, key, "is configured");
        }
    }
}

/// Checks what does not depend on Conduit's configuration.
pub(super) fn of_synapse(checks: &mut Checks, config: &SynapseConfig, synapse: &Deployment) {
    if synapse.services.contains(&Service::OtherMediaRepository) {
        checks.found(&codes::OTHER_MEDIA, "`enable_media_repo`", "is off");
    }
    for appservice in &config.appservices {
        let text = appservice.registration.expose_secret();
        let registration: BTreeMap<String, Value> =
            serde_saphyr::from_str(text).unwrap_or_default();
        let is_on =
            |key: &&&str| registration.get(**key).is_some_and(|on| on == &Value::Bool(true));
        for key in BRIDGE_SWITCHES.iter().filter(is_on) {
            let id = format!("application service `{}`", appservice.id);
            checks.found(&codes::BRIDGE_SWITCH, id, format!("its registration has `{key}: true`"));
        }
    }
}

/// An address without what makes no difference.
fn plain(url: &str) -> String {
    url.trim_end_matches('/').to_ascii_lowercase()
}
