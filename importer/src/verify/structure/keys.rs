//! Public keys: of devices that exist, or cross-signing keys that a pointer names.

use crate::{
    conduit::{
        schema::{
            shapes::{User, UserDevice, UserKey},
            table::Table,
            trees,
        },
        store::KvRead,
    },
    findings::{codes, collector::Findings},
    verify::{VerifyError, tools::lookup::get},
};

/// Trees that point to cross-signing keys.
static POINTERS: [&Table<User<'static>, UserKey<'static>>; 3] =
    [&trees::USERID_MASTERKEYID, &trees::USERID_SELFSIGNINGKEYID, &trees::USERID_USERSIGNINGKEYID];

pub(in crate::verify) fn check(
    store: &dyn KvRead,
    server_name: &str,
    found: &mut Findings,
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
        let Ok(fields) = trees::KEYID_KEY.read_key(&key) else { continue };
        let (user, name) = (fields.user, fields.key);
        if user.split_once(':').map(|(_, server)| server) != Some(server_name) {
            continue;
        }
        let device = UserDevice { user, device: name };
        let mut known = get(store, &trees::USERDEVICEID_METADATA, &device)?.is_some();
        for tree in POINTERS {
            known |= get(store, tree, &User { user })?.as_deref() == Some(&*key);
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
