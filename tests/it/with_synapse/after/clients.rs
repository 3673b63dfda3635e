//! Real clients across the move, one test for each: `tests/clients` says what is looked at. `scripts/test-clients` installs
//! them; without that, and without `CONDUIT_BIN`, these tests are skipped, and say so.

use migration_tests::{command, lab::Lab, skip};

use super::patched_conduit::patched;

/// Runs a client before and after the move to a Conduit. It is installed if a path below `target/clients` is there.
fn moves(client: &str, installed: &str) {
    let Some(conduit) = skip::conduit() else { return };
    moves_to(&conduit, client, installed, &[]);
}

fn moves_to(conduit: &str, client: &str, installed: &str, more: &[&str]) {
    if !Lab::clients().unwrap().join(installed).exists() {
        skip::skipped(&format!("{client} is not installed; `scripts/test-clients` does that"));
        return;
    }
    let lab = Lab::stopped().unwrap();
    let importer = command::path().unwrap();
    let arguments = ["--bin", conduit, "--importer", importer.to_str().unwrap(), client];
    let said = lab.run_client(&[&arguments[..], more].concat()).unwrap();
    let is_good = |line: &str| line.starts_with("ok: ") || line.starts_with("explained, ");
    let (good, bad): (Vec<_>, Vec<_>) = said.lines().partition(|line| is_good(line));
    assert!(bad.is_empty() && good.len() > 4, "{said}");
}

/// The same to a Continuwuity.
fn moves_to_continuwuity(client: &str, installed: &str) {
    let Some(binary) = skip::continuwuity() else { return };
    moves_to(&binary, client, installed, &[]);
}

#[test]
fn matrix_js_sdk_goes_on_with_continuwuity() {
    moves_to_continuwuity("matrix-js-sdk", "js/installed");
}

#[test]
fn matrix_sdk_goes_on_with_continuwuity() {
    moves_to_continuwuity("matrix-sdk", "rust/debug/client-that-is-moved");
}

#[test]
fn heisenbridge_goes_on_with_continuwuity() {
    moves_to_continuwuity("heisenbridge", "venv/installed");
}

#[test]
fn another_server_gets_the_keys_that_waited_for_it_from_continuwuity() {
    moves_to_continuwuity("federation", "js/installed");
}

#[test]
fn matrix_js_sdk_goes_on() {
    moves("matrix-js-sdk", "js/installed");
}

/// To a patched Conduit, which takes Synapse's tokens itself.
fn moves_without_rule(client: &str, installed: &str) {
    let Some(conduit) = patched() else { return };
    moves_to(&conduit, client, installed, &["--without-rule"]);
}

#[test]
fn matrix_js_sdk_goes_on_with_a_patched_conduit_and_no_rule() {
    moves_without_rule("matrix-js-sdk", "js/installed");
}

#[test]
fn matrix_sdk_goes_on() {
    moves("matrix-sdk", "rust/debug/client-that-is-moved");
}

#[test]
fn matrix_sdk_goes_on_with_a_patched_conduit_and_no_rule() {
    moves_without_rule("matrix-sdk", "rust/debug/client-that-is-moved");
}

#[test]
fn heisenbridge_goes_on() {
    moves("heisenbridge", "venv/installed");
}

#[test]
fn another_server_gets_the_keys_that_waited_for_it() {
    moves("federation", "js/installed");
}

#[test]
fn rooms_of_another_server_have_their_history_on_a_patched_conduit() {
    moves_without_rule("federation", "js/installed");
}
