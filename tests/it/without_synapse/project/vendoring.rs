//! `conduit-backfill` in another workspace, with the versions of its dependencies that Conduit locks.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use migration_tests::skip;

/// As Conduit's `Cargo.lock` has them at the pinned commit. Its ruma is a revision next to this release.
const DEPENDENCIES: &str = r#"
async-trait = "=0.1.88"
base64 = "=0.22.1"
bcrypt = "0.17"
reqwest = { version = "=0.12.4", default-features = false, features = ["rustls-tls-native-roots"] }
ruma = { version = "=0.13.0", features = ["appservice-api-c", "canonical-json", "client-api-c", "compat-optional", "federation-api-c", "rand", "ring-compat", "signatures", "state-res"] }
serde = { version = "=1.0.219", features = ["derive"] }
serde_json = { version = "=1.0.140", features = ["raw_value"] }
thiserror = "=2.0.12"
tokio = { version = "=1.45.1", features = ["macros", "rt-multi-thread", "sync", "time"] }
tracing = "=0.1.41"
unicode-normalization = "0.1"
"#;

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

fn cargo(directory: &Path, arguments: &[&str]) -> Output {
    // Kept between runs, as it is most of the time that this takes.
    let target = directory.parent().unwrap().join("vendoring-target");
    Command::new(env!("CARGO"))
        .args(arguments)
        .arg("--offline")
        .current_dir(directory)
        .env("CARGO_TARGET_DIR", target)
        .env_remove("RUSTFLAGS")
        .output()
        .unwrap()
}

#[test]
fn it_compiles_where_other_versions_are_locked() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    copy(&here.join("../conduit-backfill"), &scratch.path().join("conduit-backfill"));
    // Tests need more than a homeserver has.
    let manifest = scratch.path().join("conduit-backfill/Cargo.toml");
    let text = fs::read_to_string(&manifest).unwrap();
    let (text, _) = text.split_once("[dev-dependencies]").unwrap();
    fs::write(&manifest, text).unwrap();
    let workspace = format!(
        "[workspace]\nresolver = \"2\"\nmembers = [\"conduit-backfill\"]\n[workspace.lints.rust]\n\
         unsafe_code = \"warn\"\n[workspace.dependencies]{DEPENDENCIES}"
    );
    fs::write(scratch.path().join("Cargo.toml"), workspace).unwrap();
    let locked = cargo(scratch.path(), &["generate-lockfile"]);
    if !locked.status.success() {
        skip::skipped(
            "Conduit's versions of the dependencies are not on this machine; fetch them with cargo",
        );
        return;
    }
    let checked = cargo(scratch.path(), &["check", "--locked"]);
    let said = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success(), "{said}");
    assert!(!said.contains("warning:"), "{said}");
}
