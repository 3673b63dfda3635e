//! Real clients with their own stores before and after the move: messages and keys that waited, new ones both ways,
//! cross-signing, one-time keys, a key backup on a third device. `scripts/lab/encryption.py` says what is looked at.

use migration_tests::{command, lab::Lab, skip};

#[test]
fn encrypted_conversations_go_on() {
    let Some(conduit) = skip::conduit() else { return };
    let lab = Lab::stopped().unwrap();
    let [dump, database] =
        ["dump", "conduit"].map(|name| lab.path(name).to_str().unwrap().to_owned());
    let config = lab.note("config");
    let arguments = ["migrate", "--synapse-config", config, "--accept", "C301"];
    let to = ["--dump", &dump, "--database", &database];
    let moved = command::text(&[&arguments[..], &to].concat()).unwrap();
    // 11 says that there are warnings.
    assert!(matches!(moved.status.code(), Some(0 | 11)), "{moved:?}");
    let said = lab.run("encryption", &["--bin", &conduit, "--database", &database]).unwrap();
    let (good, bad): (Vec<_>, Vec<_>) = said.lines().partition(|line| line.starts_with("ok: "));
    assert!(bad.is_empty() && good.len() >= 14, "{said}");
}
