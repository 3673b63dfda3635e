//! Public keys: of devices that exist, or cross-signing keys that a pointer names.

use super::events::value_of;
use crate::{
    conduit::{
        schema::{
            layout::Part,
            trees::{self, Tree},
        },
        store::KvStore,
    },
    findings::{codes, collector::Found},
    verify::VerifyError,
};

/// Trees that point to cross-signing keys.
const POINTERS: [&Tree; 3] = [
    trees::USERID_MASTERKEYID.tree(),
    trees::USERID_SELFSIGNINGKEYID.tree(),
    trees::USERID_USERSIGNINGKEYID.tree(),
];

pub(in crate::verify) fn check(
    store: &dyn KvStore,
    server_name: &str,
    found: &mut Found,
) -> Result<(), VerifyError> {
    for tree in POINTERS {
        for row in store.scan(tree, &[])? {
            let (user, key) = row?;
            if store.get(&trees::KEYID_KEY, &key)?.is_none() {
                let user = String::from_utf8_lossy(&user).into_owned();
                found.add(&codes::DEVICE_MISSING, user, format!("`{tree}` points to no key"));
            }
        }
    }
    for row in store.scan(&trees::KEYID_KEY, &[])? {
        let (key, _) = row?;
        let Ok(fields) = trees::KEYID_KEY.decode_key(&key) else { continue };
        let (user, name) = (fields.text("user"), fields.text("key"));
        if user.split_once(':').map(|(_, server)| server) != Some(server_name) {
            continue;
        }
        let device = [Part::Text(user), Part::Text(name)];
        let mut known = value_of(store, &trees::USERDEVICEID_METADATA, &device)?.is_some();
        for tree in POINTERS {
            known |= value_of(store, tree, &[Part::Text(user)])?.as_deref() == Some(&*key);
        }
        // Conduit keeps the keys of devices that were removed and of replaced cross-signing keys.
        if !known {
            found.add(
                &codes::KEY_UNUSED,
                format!("{name} of {user}"),
                "is a key that nothing uses any more",
            );
        }
    }
    Ok(())
}
