//! What needs no database: configurations, places, the end of the list. Databases are looked at in
//! `synapse/database/survey/tests.rs`.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
};

use super::{Checks, Dump, Target, configuration_errors, source_error};
use crate::{
    conduit::{config::ConduitService, schema::dialect::Dialect},
    dump::{Extent, History, MediaFiles, format::DumpAppservice},
    findings::{self, Severity},
    fs::atomic_dir::Partial,
    source::survey::{AccountFacts, DatabaseFacts, MediaFacts, Survey},
    synapse::{
        config::{ConfigError, Deployment, Service, SynapseConfig},
        database::DatabaseError,
    },
};

fn codes(checks: Checks) -> Vec<&'static str> {
    checks.finish().into_iter().map(|finding| finding.code).collect()
}

fn read(text: &str) -> Result<(SynapseConfig, Deployment), ConfigError> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("homeserver.yaml");
    let seed = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
    let base = format!(
        "server_name: own.test\nsigning_key: ed25519 a {seed}\ndatabase: {{args: {{database: x}}}}\n"
    );
    std::fs::write(&file, format!("{base}{text}")).unwrap();
    let files = [file];
    Ok((SynapseConfig::read(&files)?, Deployment::read(&files)?))
}

#[test]
fn each_trap_of_the_configuration_is_found() {
    for (text, code) in [
        ("matrix_authentication_service: {enabled: true}", "C111"),
        ("experimental_features: {msc3861: {enabled: true}}", "C111"),
        ("instance_map: {main: {host: h, port: 1}}", "C112"),
        ("oidc_providers: [{idp_id: x}]", "C115"),
        ("modules: [{module: spam.Checker}]", "C116"),
        ("media_storage_providers: [{module: s3.Backend}]", "C403"),
    ] {
        let (config, deployment) = read(text).unwrap();
        let mut checks = Checks::default();
        checks.configuration(&config, &deployment);
        assert_eq!(codes(checks), [code], "{text}");
    }
    let (config, deployment) = read("").unwrap();
    let mut checks = Checks::default();
    checks.configuration(&config, &deployment);
    assert_eq!(codes(checks), [""; 0]);
}

#[test]
fn a_registration_that_conduit_cannot_read_is_found() {
    let whole = "id: bridge\nurl: null\nas_token: planted-a\nhs_token: planted-b\n\
                 sender_localpart: bot\nnamespaces: {users: [{exclusive: true, regex: '@b_.*'}]}\n";
    for (registration, expected) in [
        (whole.to_owned(), vec![]),
        (whole.replace("@b_", "@(?!a)_"), vec!["C117"]),
        (whole.replace("sender_localpart: bot", "sender_localpart: conduit"), vec!["C117"]),
        (whole.replace("hs_token: planted-b\n", ""), vec!["C117"]),
        (whole.replace("{users: ", "[{users: ").replace("}]}", "}]}]"), vec!["C117"]),
    ] {
        let (mut config, deployment) = read("").unwrap();
        config.appservices =
            vec![DumpAppservice { id: "bridge".into(), registration: registration.into() }];
        let mut checks = Checks::default();
        checks.configuration(&config, &deployment);
        let found = checks.finish();
        assert_eq!(found.iter().map(|finding| finding.code).collect::<Vec<_>>(), expected);
        assert!(!format!("{found:?}").contains("planted"));
    }
    let (mut config, deployment) = read("").unwrap();
    let twice = || DumpAppservice { id: "bridge".into(), registration: whole.to_owned().into() };
    config.appservices = vec![twice(), twice()];
    let mut checks = Checks::default();
    checks.configuration(&config, &deployment);
    assert_eq!(codes(checks), ["C117"]);
}

#[test]
fn a_bridge_that_needs_what_conduit_has_not_is_found() {
    let registration = "id: bridge\nurl: null\nas_token: planted-a\nhs_token: planted-b\nsender_localpart: bot\n\
                        namespaces: {users: []}\n";
    for (more, expected) in [
        ("", vec![]),
        ("io.element.msc4190: true\n", vec!["C528"]),
        ("org.matrix.msc3202: true\n", vec!["C528"]),
        ("org.matrix.msc3202: false\n", vec![]),
    ] {
        let (mut config, deployment) = read("").unwrap();
        let registration = format!("{registration}{more}").into();
        config.appservices = vec![DumpAppservice { id: "bridge".into(), registration }];
        let mut checks = Checks::default();
        checks.configuration(&config, &deployment);
        assert_eq!(codes(checks), expected, "{more}");
    }
}

#[test]
fn what_ends_the_reading_is_a_finding() {
    for (text, code) in [
        ("app_service_config_files: [nowhere.yaml]", "C101"),
        ("app_service_config_files: 7", "C101"),
    ] {
        assert_eq!(configuration_errors(&read(text).unwrap_err())[0].code, code, "{text}");
    }
    // Each file that can't be read is one.
    let several = read("app_service_config_files: [/nowhere/a.yaml, /nowhere/b.yaml]");
    let found = configuration_errors(&several.unwrap_err());
    let found: Vec<_> = found.iter().map(|finding| (finding.code, &*finding.subject)).collect();
    assert_eq!(found[..2], [("C101", "`/nowhere/a.yaml`"), ("C101", "`/nowhere/b.yaml`")]);
    let key = ConfigError::SigningKey { source_name: "file".into(), line: 1 };
    assert_eq!(configuration_errors(&key)[0].code, "C102");
    let registration = ConfigError::Registration { path: "file".into() };
    assert_eq!(configuration_errors(&registration)[0].code, "C103");
    let registration = ConfigError::RegistrationSyntax { path: "file".into(), line: 1 };
    assert_eq!(configuration_errors(&registration)[0].code, "C103");
    for (error, code) in [
        (DatabaseError::FileMissing { path: "x".into() }, "C104"),
        (DatabaseError::Setting { key: "sslmode" }, "C104"),
        (DatabaseError::SchemaTooOld { found: 1 }, "C105"),
        (DatabaseError::SchemaTooNew { found: 1000 }, "C123"),
        (DatabaseError::NotSynapse { place: "x".into(), missing: "y" }, "C122"),
        (DatabaseError::BackgroundUpdate { name: "x".into() }, "C106"),
        (DatabaseError::ServerName { configured: "a".into(), found: "b".into() }, "C107"),
    ] {
        assert_eq!(source_error(&error.into()).code, code);
    }
}

fn survey() -> Survey {
    Survey { server_name: "own.test".into(), ..Survey::default() }
}

fn service() -> ConduitService {
    ConduitService {
        listen: "127.0.0.1:0".parse().unwrap(),
        registration: false,
        empty_token: false,
        federation: true,
        max_request_bytes: 1 << 20,
        turn: false,
        jwt: false,
        client: "https://own.test".into(),
        server: "own.test:443".into(),
        media_retention: false,
        tls: Vec::new(),
        has_variables: false,
    }
}

/// A new database for Conduit in a directory, without a configuration.
fn target(directory: &Path, dump: Dump) -> Target {
    Target {
        database: directory.join("conduit"),
        media: directory.join("conduit/media"),
        dump,
        report: directory.to_owned(),
        server_name: None,
        service: None,
        binary: None,
        dialect: Dialect::Conduit,
    }
}

fn of_target(directory: &Path, change: impl FnOnce(&mut Target)) -> Vec<&'static str> {
    let mut target = Target {
        database: directory.join("parent/conduit"),
        media: directory.join("parent/conduit/media"),
        report: directory.join("report"),
        server_name: Some("own.test".into()),
        service: Some(service()),
        ..target(directory, Dump::New(directory.join("dump")))
    };
    change(&mut target);
    let deployment = Deployment {
        max_upload_bytes: 1 << 20,
        services: [Service::ServerWellKnown].into(),
        ..Deployment::default()
    };
    let mut checks = Checks::default();
    checks.target(&target, Some(&survey()), Some(&deployment), History::Recent);
    codes(checks)
}

#[test]
fn a_good_target_has_no_findings_and_nothing_is_left_there() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(of_target(directory.path(), |_| {}), [""; 0]);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn each_trap_of_the_target_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    std::fs::create_dir(path("used")).unwrap();
    std::fs::write(path("used/IDENTITY"), "x").unwrap();
    std::fs::create_dir(path("mine.partial")).unwrap();
    std::fs::write(path("mine.partial/precious"), "x").unwrap();
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let of = |change: &dyn Fn(&mut Target)| of_target(directory.path(), |target| change(target));
    let with = |change: &dyn Fn(&mut ConduitService)| {
        of(&|target| change(target.service.as_mut().unwrap()))
    };

    assert_eq!(of(&|target| target.server_name = Some("other.test".into())), ["C502"]);
    assert_eq!(of(&|target| target.database = path("used")), ["C503"]);
    assert_eq!(of(&|target| target.database = path("mine")), ["C504"]);
    assert_eq!(of(&|target| target.database = path("used/IDENTITY")), ["C504"]);
    assert_eq!(of(&|target| target.database = "/proc/nowhere/conduit".into()), ["C505"]);
    assert_eq!(of(&|target| target.dump = Dump::New(path("used"))), ["C507"]);
    assert_eq!(of(&|target| target.report = "/proc/nowhere/report".into()), ["C505"]);
    assert_eq!(of(&|target| target.report = path("used/IDENTITY")), ["C505"]);
    assert_eq!(of(&|target| target.report = path("used")), [""; 0]);
    let address = busy.local_addr().unwrap();
    assert_eq!(with(&|service| service.listen = address), ["C508"]);
    assert_eq!(with(&|service| service.registration = true), ["C509"]);
    assert_eq!(with(&|service| service.federation = false), ["C510"]);
    assert_eq!(with(&|service| service.max_request_bytes = 5), ["C511"]);
    assert_eq!(with(&|service| service.empty_token = true), ["C514"]);
    assert_eq!(with(&|service| service.tls = vec![path("absent")]), ["C514"]);
    assert_eq!(of(&|target| target.media = path("used")), ["C515"]);
    assert_eq!(of(&|target| target.media = path("parent")), ["C515"]);
    assert_eq!(of(&|target| target.media = path("elsewhere")), [""; 0]);
}

/// A code says once what to do, and what another importer writes is not to be moved.
#[test]
fn what_to_do_about_a_target_is_said_once() {
    let directory = tempfile::tempdir().unwrap();
    let told = |database: PathBuf| {
        let mut checks = Checks::default();
        let target = Target {
            database,
            media: directory.path().join("media"),
            report: directory.path().join("report"),
            ..target(directory.path(), Dump::New(directory.path().join("dump")))
        };
        checks.target(&target, None, None, History::Full);
        let found = checks.finish();
        let [finding] = found.as_slice() else { panic!("{found:?}") };
        (finding.code, finding.text.clone(), finding.remedy.clone())
    };
    let used = directory.path().join("used");
    std::fs::create_dir_all(used.join("x")).unwrap();
    let (code, text, remedy) = told(used);
    assert_eq!((code, &*text), ("C503", "is not empty"));
    assert!(remedy.starts_with("name a new directory"));
    let busy = directory.path().join("busy");
    let _running = Partial::create(&busy).unwrap();
    let (code, text, remedy) = told(busy);
    assert_eq!((code, &*remedy), ("C504", ""));
    assert!(text.ends_with("wait for its end, or stop it"), "{text}");
}

/// What people notice after the move, as Conduit does not do it.
#[test]
fn what_conduit_does_otherwise_is_found() {
    let of = |text: &str, change: &dyn Fn(&mut ConduitService)| {
        let text = format!("serve_server_wellknown: true\n{text}");
        let (config, deployment) = read(&text).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let mut service = service();
        service.max_request_bytes = 1 << 30;
        change(&mut service);
        let target = Target {
            service: Some(service),
            ..target(directory.path(), Dump::New(directory.path().join("dump")))
        };
        let mut checks = Checks::default();
        checks.configuration(&config, &deployment);
        checks.target(&target, None, Some(&deployment), History::Full);
        codes(checks)
    };
    let same = &|_: &mut ConduitService| {};
    for (text, code) in [
        ("turn_uris: ['turn:t']", "C516"),
        ("federation_domain_whitelist: [a.test]", "C517"),
        ("retention: {enabled: true}", "C518"),
        ("media_retention: {remote_media_lifetime: 90d}", "C519"),
        ("public_baseurl: https://m.own.test/", "C520"),
        ("serve_server_wellknown: false", "C521"),
        ("extra_well_known_client_content: {a: b}", "C522"),
        ("auto_join_rooms: ['#a:own.test']", "C523"),
        ("email: {smtp_host: mail}", "C524"),
        ("user_consent: {version: 1.0}", "C525"),
        ("server_notices: {system_mxid_localpart: n}", "C526"),
        ("jwt_config: {enabled: true}", "C527"),
        ("enable_media_repo: false", "C404"),
    ] {
        let found = if text.starts_with("serve_") {
            let (_, deployment) = read(text).unwrap();
            let mut checks = Checks::default();
            super::services::check(&mut checks, &service(), Some(&deployment));
            codes(checks)
        } else {
            of(text, same)
        };
        assert_eq!(found, [code], "{text}");
    }
    assert_eq!(of("turn_uris: ['turn:t']", &|service| service.turn = true), [""; 0]);
    let closed = "federation_domain_whitelist: [a.test]";
    assert_eq!(of(closed, &|service| service.federation = false), ["C510"]);
    let media = "media_retention: {remote_media_lifetime: 90d}";
    assert_eq!(of(media, &|service| service.media_retention = true), [""; 0]);
    assert_eq!(of("public_baseurl: https://OWN.test/", same), [""; 0]);
}

#[test]
fn media_that_another_program_keeps_is_told_once() {
    let directory = tempfile::tempdir().unwrap();
    let of = |store: &Path, missing: &[&str]| {
        let text = format!("enable_media_repo: false\nmedia_store_path: {}", store.display());
        let (config, deployment) = read(&text).unwrap();
        let mut checks = Checks::default();
        checks.configuration(&config, &deployment);
        let missing = missing.iter().map(|id| (*id).to_owned()).collect();
        let media = MediaFacts { files: 3, missing, ..MediaFacts::default() };
        checks.survey(&Survey { media, ..survey() }, Some(&config));
        let mut found = codes(checks);
        found.retain(|code| matches!(*code, "C124" | "C401" | "C402" | "C404"));
        found
    };
    assert_eq!(of(directory.path(), &[]), ["C404"]);
    assert_eq!(of(directory.path(), &["a"]), ["C402", "C404"]);
    assert_eq!(of(directory.path(), &["a", "b", "c"]), ["C124"]);
    assert_eq!(of(&directory.path().join("nowhere"), &[]), ["C124"]);
}

const EXTENT: Extent = Extent {
    history: History::Recent,
    reach_back: 0,
    media: MediaFiles::Refer,
    remote_media: false,
    keep_expiring_tokens: false,
};

#[test]
fn an_earlier_dump_is_taken_only_if_nothing_came_later() {
    let directory = tempfile::tempdir().unwrap();
    let of = |server: &str, last_activity_ts| {
        let manifest = serde_json::json!({
            "version": crate::dump::format::VERSION, "server_name": server, "created_ts": 1000, "source": {"kind": "sqlite"},
            "tally": {"read": {}, "written": {}, "skipped": []}, "files": [],
        });
        std::fs::write(directory.path().join("manifest.json"), manifest.to_string()).unwrap();
        let target = target(directory.path(), Dump::Reused(directory.path().to_owned(), EXTENT));
        let mut checks = Checks::default();
        let survey = Survey { last_activity_ts, ..survey() };
        checks.target(&target, Some(&survey), None, History::Recent);
        codes(checks)
    };
    assert_eq!(of("own.test", 1000), [""; 0]);
    assert_eq!(of("own.test", 1001), ["C513"]);
    assert_eq!(of("other.test", 0), ["C512"]);
    std::fs::write(directory.path().join("manifest.json"), "{").unwrap();
    let target = target(directory.path(), Dump::Reused(directory.path().to_owned(), EXTENT));
    let mut checks = Checks::default();
    checks.target(&target, Some(&survey()), None, History::Recent);
    assert_eq!(codes(checks), ["C512"]);
}

#[test]
fn an_earlier_dump_is_taken_only_if_it_was_made_with_the_same_options() {
    let directory = tempfile::tempdir().unwrap();
    let of = |extent: serde_json::Value| {
        let manifest = serde_json::json!({
            "version": crate::dump::format::VERSION, "server_name": "own.test", "created_ts": 1000,
            "source": {"kind": "sqlite", "extent": extent},
            "tally": {"read": {}, "written": {}, "skipped": []}, "files": [],
        });
        std::fs::write(directory.path().join("manifest.json"), manifest.to_string()).unwrap();
        let target = target(directory.path(), Dump::Reused(directory.path().to_owned(), EXTENT));
        let mut checks = Checks::default();
        checks.target(&target, Some(&survey()), None, History::Recent);
        codes(checks)
    };
    // An older dump does not say.
    assert_eq!(of(serde_json::Value::Null), [""; 0]);
    assert_eq!(of(serde_json::json!({"history": "recent", "media": "refer"})), [""; 0]);
    assert_eq!(of(serde_json::json!({"history": "full", "media": "refer"})), ["C512"]);
    assert_eq!(of(serde_json::json!({"history": "recent", "media": "copy"})), ["C512"]);
    let remote = serde_json::json!({"history": "recent", "media": "refer", "remote_media": true});
    assert_eq!(of(remote), ["C512"]);
}

#[test]
fn a_disk_that_is_too_small_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let target = target(directory.path(), Dump::New(directory.path().join("dump")));
    let bytes = 1 << 60;
    let huge = DatabaseFacts {
        bytes,
        pending_updates: Vec::new(),
        locale: None,
        other_sessions: 0,
        state_entries: 0,
    };
    let survey = Survey { database: Some(huge), ..survey() };
    for (history, expected) in [(History::Full, vec!["C506"]), (History::Recent, vec![])] {
        let mut checks = Checks::default();
        checks.target(&target, Some(&survey), None, history);
        assert_eq!(codes(checks), expected, "{history:?}");
    }
}

#[test]
fn what_the_apis_cannot_give_is_said_and_pending_updates_are_noted() {
    let mut checks = Checks::default();
    checks.survey(&survey(), None);
    assert_eq!(codes(checks), ["C114", "C204"]);
    let database = DatabaseFacts {
        bytes: 0,
        pending_updates: vec!["an_index".into()],
        locale: None,
        other_sessions: 0,
        state_entries: 0,
    };
    let mut checks = Checks::default();
    checks.survey(&Survey { database: Some(database), ..survey() }, None);
    assert_eq!(codes(checks), ["C204", "C110"]);
}

#[test]
fn many_findings_are_counted_and_accepted_ones_are_warnings() {
    let foreign = |number| AccountFacts {
        user_id: format!("@{number:04}:x.test"),
        deactivated: true,
        ..AccountFacts::default()
    };
    let accounts = (0..1002).map(foreign).collect();
    let mut checks = Checks::default();
    checks.survey(&Survey { accounts, ..survey() }, None);
    let mut found = checks.finish();
    let foreign: Vec<_> = found.iter().filter(|finding| finding.code == "C205").collect();
    assert_eq!(foreign.len(), 1001);
    assert_eq!(
        (foreign[1000].subject.as_str(), &*foreign[1000].text),
        ("further ones", "2 more findings of this code")
    );
    assert_eq!(findings::gravest(&found), Some(Severity::Blocking));
    findings::accept(&mut found, &["C205".to_owned(), "C204".to_owned()].into());
    assert!(found.iter().all(|finding| finding.severity >= Severity::Warning));
    assert_eq!(findings::gravest(&found), Some(Severity::Warning));
}

/// What is so on Continuwuity, in words for it.
#[test]
fn what_continuwuity_does_otherwise_is_found() {
    let of = |text: &str| {
        let (_, deployment) = read(text).unwrap();
        let mut checks = Checks::of(Dialect::Continuwuity);
        super::services::check(&mut checks, &service(), Some(&deployment));
        checks.finish()
    };
    let mut found = Vec::new();
    for text in [
        "turn_uris: ['turn:t']",
        "federation_domain_whitelist: [a.test]",
        "media_retention: {remote_media_lifetime: 90d}",
        "serve_server_wellknown: false",
        "auto_join_rooms: ['#a:own.test']",
        "email: {smtp_host: mail}",
        "user_consent: {version: 1.0}",
        "jwt_config: {enabled: true}",
    ] {
        let of_text = of(&format!("serve_server_wellknown: true\n{text}")
            .replace("serve_server_wellknown: true\nserve", "serve"));
        let [finding] = &*of_text else { panic!("{text}: {of_text:?}") };
        found.push(format!("{finding}\n  meaning: {}", finding.meaning));
    }
    let found = found.join("\n");
    assert!(!found.contains("Conduit"), "{found}");
    insta::assert_snapshot!(found);
}

#[test]
fn what_continuwuity_has_a_place_for_is_no_finding() {
    let account = |name: &str| AccountFacts {
        user_id: format!("@{name}:own.test"),
        admin: true,
        ..AccountFacts::default()
    };
    let accounts = vec![
        AccountFacts { suspended: true, ..account("suspended") },
        AccountFacts { restricted: true, ..account("shadow") },
    ];
    let survey = Survey {
        accounts,
        expiring_tokens: vec![("@a:own.test".into(), 1)],
        outside_ids: 3,
        emails: 2,
        custom_profiles: 1,
        ..survey()
    };
    let of = |dialect: Dialect| {
        let mut checks = Checks::of(dialect);
        checks.survey(&survey, None);
        let found = checks.finish().into_iter();
        let found =
            found.filter(|finding| matches!(finding.code, "C210" | "C213" | "C216" | "C219"));
        found
            .map(|finding| format!("{} {}: {}", finding.code, finding.subject, finding.text))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        of(Dialect::Conduit),
        [
            "C210 @shadow:own.test: is locked, suspended, shadow-banned or unapproved",
            "C210 @suspended:own.test: is locked, suspended, shadow-banned or unapproved",
            "C213 @a:own.test: 1 access token",
            "C216 own.test: 3 ids",
            "C219 own.test: 1 profile with custom fields",
        ]
    );
    assert_eq!(
        of(Dialect::Continuwuity),
        [
            "C210 @shadow:own.test: is shadow-banned or unapproved",
            "C213 @a:own.test: 1 access token",
            "C216 own.test: 1 id",
        ]
    );
}
