//! Account data. Conduit passes it on unread but for a few types, so it is written as it stands in the dump.

use serde_json::{json, value::RawValue};

use super::push_rule_filter;
use crate::{
    conduit::{
        account_data::{Parsable, parsable},
        schema::{
            shapes::{AccountData, AccountDataType, AsSent},
            trees,
        },
    },
    dump::format::DumpUser,
    import::{ImportError, row_writer::Rows},
    tally::{Kind, Tally},
};

/// Writes a user's account data and push rules. `rules_are_good`: see [`push_rule_filter::are_good`].
pub(super) fn write(
    user: &DumpUser,
    rules_are_good: bool,
    rows: &mut Rows<'_>,
    tally: &mut Tally,
) -> Result<(), ImportError> {
    let mut writer = Writer { user: user.user_id.as_str(), rows, tally };
    for (kind, content) in &user.account_data.global {
        writer.row(Kind::AccountData, "", kind, content)?;
    }
    for (room, types) in &user.account_data.rooms {
        for (kind, content) in types {
            writer.row(Kind::RoomAccountData, room.as_str(), kind, content)?;
        }
    }
    writer.push_rules(user, rules_are_good)
}

/// Writes the account data of one user.
struct Writer<'a, 's> {
    user: &'a str,
    rows: &'a mut Rows<'s>,
    tally: &'a mut Tally,
}

impl Writer<'_, '_> {
    fn push_rules(&mut self, user: &DumpUser, are_good: bool) -> Result<(), ImportError> {
        if user.deactivated || user.guest {
            if user.push_rules.is_some() {
                let detail = "Conduit notifies neither deactivated users nor guests";
                let item = format!("m.push_rules of {}", self.user);
                self.tally.read(Kind::AccountData, 1);
                self.tally.skip(Kind::AccountData, item, "account-without-rights", detail);
            }
            return Ok(());
        }
        let rules = user.push_rules.as_deref();
        if let Some(rules) = rules.filter(|_| are_good) {
            self.put("", "m.push_rules", rules.get())?;
        } else {
            let rules = push_rule_filter::content(&user.user_id, rules, self.tally);
            self.put("", "m.push_rules", &rules.to_string())?;
        }
        // Rules that the dump doesn't have are the defaults, which are nothing that moved.
        let moved = u64::from(user.push_rules.is_some());
        self.tally.read(Kind::AccountData, moved);
        self.tally.written(Kind::AccountData, moved);
        Ok(())
    }

    fn row(
        &mut self,
        counted: Kind,
        room: &str,
        kind: &str,
        content: &RawValue,
    ) -> Result<(), ImportError> {
        self.tally.read(counted, 1);
        let item = format!("{kind} of {} {room}", self.user);
        let item = item.trim();
        if room.is_empty() && kind == "m.push_rules" {
            let detail = "the user's push rules are kept elsewhere; nobody uses this copy";
            self.tally.skip(counted, item, "push-rules-unused", detail);
            return Ok(());
        }
        match parsable(kind, content.get()) {
            Parsable::Whole => self.put(room, kind, content.get())?,
            Parsable::Part { content, left_out } => {
                self.put(room, kind, &content)?;
                for entry in left_out {
                    self.tally.read(counted, 1);
                    let detail = "Conduit could not read the others with it; they move";
                    let entry = format!("{item}: {entry}");
                    self.tally.skip(counted, entry, "account-data-entry-unreadable", detail);
                }
            }
            Parsable::Nothing(error) => {
                self.tally.skip(counted, item, "account-data-unparsable", error);
                return Ok(());
            }
        }
        self.tally.written(counted, 1);
        Ok(())
    }

    fn put(&mut self, room: &str, kind: &str, content: &str) -> Result<(), ImportError> {
        let user = self.user;
        let key = AccountData { room, user, count: self.rows.next(), r#type: kind };
        let event = format!("{{\"content\":{content},\"type\":{}}}", json!(kind));
        self.rows.put(&trees::ROOMUSERDATAID_ACCOUNTDATA, &key, &AsSent { json: &event })?;
        let index = AccountDataType { room, user, r#type: kind };
        self.rows.put(&trees::ROOMUSERTYPE_ROOMUSERDATAID, &index, &key)
    }
}
