//! Account data. Conduit passes it on unread but for a few types, so it is written as it stands in the dump.

use serde_json::{json, value::RawValue};

use super::super::{Import, ImportError, users::push_rules};
use crate::{
    conduit::{
        account_data::{Readable, readable},
        schema::trees,
    },
    dump::format::DumpUser,
    tally::Kind,
};

impl Import<'_> {
    pub(super) fn account_data(&mut self, user: &DumpUser) -> Result<(), ImportError> {
        let id = user.user_id.as_str();
        for (kind, content) in &user.account_data.global {
            self.account_data_row(Kind::AccountData, "", id, kind, content)?;
        }
        for (room, types) in &user.account_data.rooms {
            for (kind, content) in types {
                self.account_data_row(Kind::RoomAccountData, room.as_str(), id, kind, content)?;
            }
        }
        if user.deactivated || user.guest {
            if user.push_rules.is_some() {
                let detail = "Conduit notifies neither deactivated users nor guests";
                self.tally.read(Kind::AccountData, 1);
                let item = format!("m.push_rules of {id}");
                self.tally.skip(Kind::AccountData, item, "account-without-rights", detail);
            }
        } else {
            let rules =
                push_rules::content(&user.user_id, user.push_rules.as_deref(), &mut self.tally);
            self.put_account_data("", id, "m.push_rules", &rules.to_string())?;
            // Without them in the dump they are the defaults, which are nothing that moved.
            let moved = u64::from(user.push_rules.is_some());
            self.tally.read(Kind::AccountData, moved);
            self.tally.written(Kind::AccountData, moved);
        }
        Ok(())
    }

    fn account_data_row(
        &mut self,
        counted: Kind,
        room: &str,
        user: &str,
        kind: &str,
        content: &RawValue,
    ) -> Result<(), ImportError> {
        self.tally.read(counted, 1);
        let item = format!("{kind} of {user} {room}");
        let item = item.trim();
        if room.is_empty() && kind == "m.push_rules" {
            let detail = "the user's push rules are kept elsewhere; nobody uses this copy";
            self.tally.skip(counted, item, "push-rules-unused", detail);
            return Ok(());
        }
        match readable(kind, content.get()) {
            Readable::Whole => self.put_account_data(room, user, kind, content.get())?,
            Readable::Part { content, left_out } => {
                self.put_account_data(room, user, kind, &content)?;
                for entry in left_out {
                    self.tally.read(counted, 1);
                    let detail = "Conduit could not read the others with it; they move";
                    let entry = format!("{item}: {entry}");
                    self.tally.skip(counted, entry, "account-data-entry-unreadable", detail);
                }
            }
            Readable::Nothing(error) => {
                self.tally.skip(counted, item, "account-data-unparsable", error);
                return Ok(());
            }
        }
        self.tally.written(counted, 1);
        Ok(())
    }

    fn put_account_data(
        &mut self,
        room: &str,
        user: &str,
        kind: &str,
        content: &str,
    ) -> Result<(), ImportError> {
        let count = self.rows.next();
        let key = [room.into(), user.into(), count.into(), kind.into()];
        let event = format!("{{\"content\":{content},\"type\":{}}}", json!(kind));
        self.rows.put(&trees::ROOMUSERDATAID_ACCOUNTDATA, &key, &[event.as_str().into()])?;
        let index = [room.into(), user.into(), kind.into()];
        self.rows.put(&trees::ROOMUSERTYPE_ROOMUSERDATAID, &index, &key)
    }
}
