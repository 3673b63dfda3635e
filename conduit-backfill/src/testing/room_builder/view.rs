//! What the server of a story shows to nobody, or has learned too late.

use ruma::EventId;

use super::RoomBuilder;

impl RoomBuilder {
    /// The server has learned of a state event too late: the state before `event` has `instead` in its place, or nothing. The
    /// event is sent as it was, with the auth events of those who knew better. To be told before anything follows it.
    pub fn overlook(
        &mut self,
        event: &EventId,
        kind: &str,
        state_key: &str,
        instead: Option<&EventId>,
    ) {
        let key = (kind.to_owned(), state_key.to_owned());
        if let Some(told) = self.events.iter_mut().find(|told| told.pdu.event_id == event) {
            match instead {
                Some(instead) => told.state_before.insert(key, instead.to_owned()),
                None => told.state_before.remove(&key),
            };
        }
    }

    /// Hides an event that nothing follows, as a server does with one that fails softly.
    pub fn withhold(&mut self, event: &EventId) {
        if let Some(told) = self.events.iter_mut().find(|told| told.pdu.event_id == event) {
            told.shown = false;
        }
    }
}
