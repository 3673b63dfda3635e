//! Whether a redaction has an effect. This is the one place that says it: the walk asks here for events that it brings, and a
//! host for those whose redactions arrive meanwhile.

use ruma::{
    CanonicalJsonObject, EventId, UserId,
    room_version_rules::AuthorizationRules,
    state_res::events::{RoomCreateEvent, RoomPowerLevelsEvent, RoomPowerLevelsIntField},
};

use crate::pdu::event::Event;

/// An event as a host has it: its id and JSON, with or without `event_id` and `unsigned`.
pub type Stored<'a> = (&'a EventId, CanonicalJsonObject);

/// Who may redact in the state before a redaction: its create event and its power levels, if they are known.
#[derive(Clone, Debug, Default)]
pub struct Powers<'a> {
    /// `m.room.create`.
    pub create: Option<Stored<'a>>,
    /// `m.room.power_levels`.
    pub levels: Option<Stored<'a>>,
}

/// Whether a redaction has an effect on an event of `sender`, by the state before the redaction: what somebody may do now says
/// nothing about what he was allowed to do then. What is not known hides the event.
pub fn has_effect(
    redaction: Stored<'_>,
    sender: &UserId,
    powers: Option<Powers<'_>>,
    rules: &AuthorizationRules,
) -> bool {
    let Some(by) = read(Some(redaction)) else { return true };
    let powers = powers.map(|powers| (read(powers.create), read(powers.levels)));
    let powers = powers.as_ref().map(|(create, levels)| (create.as_ref(), levels.as_ref()));
    is_effective(&by, sender, powers, rules)
}

fn read(stored: Option<Stored<'_>>) -> Option<Event> {
    let (id, mut json) = stored?;
    json.remove("event_id");
    json.remove("unsigned");
    Event::new(id.to_owned(), json)
}

/// The same, of events that have been read: the redaction, and create event and power levels of the state before it.
pub(crate) fn is_effective(
    by: &Event,
    sender: &UserId,
    powers: Option<(Option<&Event>, Option<&Event>)>,
    rules: &AuthorizationRules,
) -> bool {
    if by.sender().server_name() == sender.server_name() {
        return true;
    }
    let Some((create, levels)) = powers else { return true };
    let creators = create.and_then(|create| RoomCreateEvent::new(create).creators(rules).ok());
    let created = creators.is_none_or(|creators| creators.contains(by.sender()));
    let Some(levels) = levels else { return created };
    let levels = RoomPowerLevelsEvent::new(levels);
    let power = levels.user_power_level(by.sender(), rules);
    let needed = levels.get_as_int_or_default(RoomPowerLevelsIntField::Redact, rules);
    let enough = power.ok().zip(needed.ok()).is_none_or(|(power, needed)| power >= needed);
    enough || (created && rules.explicitly_privilege_room_creators)
}
