//! Synapse itself: configuration, database, media.

use secrecy::ExposeSecret as _;

use super::{Checks, services};
use crate::{
    conduit::{appservice::registrations, schema::keypair},
    counted::{count, counted},
    findings::{Finding, codes},
    source::{
        SourceError,
        survey::{Duplicate, Survey},
    },
    synapse::{
        config::{ConfigError, Deployment, SynapseConfig},
        database::DatabaseError,
    },
};

/// The findings that an unusable configuration is: one for each file of it that can't be read.
pub fn configuration_errors(error: &ConfigError) -> Vec<Finding> {
    match error {
        ConfigError::Several { files } => files
            .iter()
            .map(|file| Finding {
                remedy: file.remedy().into(),
                ..codes::CONFIG.of(
                    format!("`{}`", file.path.display()),
                    format!("`{}` names it: {}", file.key, file.source),
                )
            })
            .collect(),
        error => vec![configuration_error(error)],
    }
}

fn configuration_error(error: &ConfigError) -> Finding {
    let code = match error {
        ConfigError::SigningKey { .. } => codes::SIGNING_KEY,
        ConfigError::Registration { .. } | ConfigError::RegistrationSyntax { .. } => {
            codes::REGISTRATION
        }
        _ => codes::CONFIG,
    };
    told(code.of("Synapse's configuration", chain(error)))
}

/// The finding of an error whose own words say what to do.
fn told(finding: Finding) -> Finding {
    Finding { remedy: "".into(), ..finding }
}

/// The finding that an unreadable Synapse is.
pub fn source_error(error: &SourceError) -> Finding {
    let of_database = match error {
        SourceError::Homeserver(error) => error.downcast_ref(),
        SourceError::Write(_) => None,
    };
    let code = match of_database {
        Some(DatabaseError::NotSynapse { .. }) => codes::NOT_SYNAPSE,
        Some(DatabaseError::SchemaTooOld { .. }) => codes::SCHEMA,
        Some(DatabaseError::SchemaTooNew { .. }) => codes::SCHEMA_NEW,
        Some(DatabaseError::BackgroundUpdate { .. }) => codes::NEEDED_UPDATE,
        Some(DatabaseError::ServerName { .. }) => codes::OTHER_SERVER,
        _ => codes::SOURCE,
    };
    told(code.of("Synapse", chain(error)))
}

/// An error with its causes, none of them twice.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    text
}

pub(super) fn configuration(checks: &mut Checks, config: &SynapseConfig, deployment: &Deployment) {
    let seed = secrecy::ExposeSecret::expose_secret(&config.signing_key.seed);
    if let Err(error) = keypair::pkcs8(&config.signing_key.version, seed) {
        checks.found(&codes::SIGNING_KEY, &config.signing_key.version, error.to_string());
    }
    if config.delegated_auth {
        let subject = "`matrix_authentication_service`";
        checks.found(&codes::DELEGATED, subject, "is on (or `experimental_features.msc3861`)");
    }
    if config.workers {
        checks.found(&codes::WORKERS, "`instance_map`, `redis`", "are configured");
    }
    for key in &deployment.other_logins {
        checks.found(&codes::OTHER_LOGINS, format!("`{key}`"), "is configured");
    }
    let texts = config.appservices.iter().map(|one| (&*one.id, one.registration.expose_secret()));
    for (id, registration) in registrations(texts, config.server_name.as_str()) {
        if let Err((_, detail)) = registration {
            checks.found(&codes::APPSERVICE, id, detail);
        }
    }
    services::of_synapse(checks, config, deployment);
    for module in &deployment.modules {
        checks.found(&codes::MODULES, module, "is loaded");
    }
    for module in &deployment.media_providers {
        checks.found(&codes::MEDIA_PROVIDER, module, "is configured");
    }
    paths(checks, deployment);
}

fn paths(checks: &mut Checks, deployment: &Deployment) {
    for proposed in &deployment.proposed_paths {
        let there = proposed.there.display().to_string();
        checks.found(&codes::CONTAINER_PATHS, there, proposed.to_string());
    }
    for (key, taken, other) in &deployment.ambiguous_paths {
        let text =
            format!("`{}` is used, and `{}` exists as well", taken.display(), other.display());
        checks.found(&codes::AMBIGUOUS_PATH, format!("`{key}`"), text);
    }
    for file in &deployment.passed_over {
        checks.found(&codes::PASSED_OVER, file.display().to_string(), "is no YAML mapping");
    }
}

/// Whether the configured keys are those that signed.
pub(super) fn signatures(checks: &mut Checks, survey: &Survey) {
    let Some(signatures) = survey.signatures.as_ref().filter(|signatures| signatures.fitting == 0)
    else {
        return;
    };
    let (id, key) = signatures.example.clone().unwrap_or_default();
    let events = counted(signatures.events, ["newest event", "newest events"]);
    let text = format!(
        "of {events} of this server, none is signed by a configured key: `{id}` is signed by `{key}`"
    );
    checks.found(&codes::WRONG_KEY, &survey.server_name, text);
}

pub(super) fn database(checks: &mut Checks, survey: &Survey) {
    let Some(database) = &survey.database else {
        checks.found(&codes::API_ONLY, &survey.server_name, "is read through its APIs");
        return;
    };
    for update in &database.pending_updates {
        checks.found(&codes::UPDATES, format!("`{update}`"), "is pending");
    }
    for Duplicate { table, key, rows } in &survey.duplicates {
        checks.found(
            &codes::DUPLICATES,
            format!("`{table}`"),
            format!("{key}: {}", count(*rows, "row")),
        );
    }
    let Some(locale) = &database.locale else { return };
    if locale.encoding != "UTF8" {
        checks.found(
            &codes::ENCODING,
            "database",
            format!("its encoding is `{}`", locale.encoding),
        );
    }
    if locale.collation != "C" || locale.ctype != "C" {
        let text = format!("collation `{}`, character type `{}`", locale.collation, locale.ctype);
        checks.found(&codes::COLLATION, "database", text);
    }
}

pub(super) fn media(
    checks: &mut Checks,
    survey: &Survey,
    config: Option<&SynapseConfig>,
    elsewhere: bool,
) {
    if !elsewhere {
        for (uri, owner) in &survey.media.unknown {
            checks.found(&codes::AVATARS_ELSEWHERE, uri, format!("is the avatar of {owner}"));
        }
    }
    let Some(config) = config.filter(|_| survey.media.files > 0) else { return };
    let path = config.media_store_path.display().to_string();
    // A storage provider that is a directory may have everything that Synapse's own directory lost.
    let has_provider = config.media_providers.iter().any(|provider| provider.is_dir());
    if let Err(error) = config.media_store_path.read_dir()
        && !(has_provider && error.kind() == std::io::ErrorKind::NotFound)
    {
        let files = counted(survey.media.files, ["file is", "files are"]);
        let text = format!("{error}; {files} missed");
        let code = if elsewhere { &codes::MEDIA_ELSEWHERE } else { &codes::MEDIA_STORE };
        checks.found(code, path, text);
        return;
    }
    if elsewhere && u64::try_from(survey.media.missing.len()) == Ok(survey.media.files) {
        let text = format!("none of {} is in it", count(survey.media.files, "file"));
        checks.found(&codes::MEDIA_ELSEWHERE, path, text);
        return;
    }
    for id in &survey.media.missing {
        checks.found(
            &codes::MEDIA_MISSING,
            format!("mxc://{}/{id}", survey.server_name),
            "no file",
        );
    }
}
