//! Notes the commit that the command is built from, for `importer --version`.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // Builds for tests go without: they would be made anew after each commit.
    if env::var_os("PROFILE").is_some_and(|profile| profile == "debug") {
        return;
    }
    let manifest = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let Some(root) = manifest.parent() else { return };
    if let Some(commit) = commit(root) {
        println!("cargo::rustc-env=IMPORTER_COMMIT={commit}");
    }
}

/// The commit of the checkout that has its top at `root`; none where another project's has.
fn commit(root: &Path) -> Option<String> {
    let top = git(root, &["rev-parse", "--show-toplevel"])?;
    if Path::new(&top).canonicalize().ok()? != root.canonicalize().ok()? {
        return None;
    }
    let commit = git(root, &["rev-parse", "HEAD"])?;
    let changed = !git(root, &["status", "--porcelain", "--untracked-files=no"])?.is_empty();
    let log = git(root, &["rev-parse", "--git-path", "logs/HEAD"])?;
    for path in [Path::new(&log), Path::new("importer"), Path::new("conduit-backfill")] {
        let path = root.join(path);
        // Cargo takes a path that isn't there for a changed one.
        if path.exists() {
            println!("cargo::rerun-if-changed={}", path.display());
        }
    }
    Some(if changed { format!("{commit} and changes") } else { commit })
}

fn git(directory: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").arg("-C").arg(directory).args(arguments).output().ok()?;
    let said = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| said.trim_end().to_owned())
}
