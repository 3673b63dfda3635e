//! Events that `/backfill` leaves out.

use ruma::{EventId, OwnedEventId};

use super::Walk;
use crate::{error::BackfillError, host::GivenUp, upstream::Upstream};

/// Events that are asked for one by one in a step.
const AT_ONCE: usize = 20;

impl Walk<'_> {
    /// Asks for events by themselves; those that the upstream doesn't have, or has and showed to nobody, are given up.
    /// `true` if there was one.
    pub(super) async fn resolve(
        &mut self,
        events: Vec<OwnedEventId>,
    ) -> Result<bool, BackfillError> {
        let mut resolved = 0_usize;
        for id in events {
            if self.resolve_one(&id).await? {
                resolved = resolved.saturating_add(1);
            }
            if resolved >= AT_ONCE {
                break;
            }
        }
        Ok(resolved > 0)
    }

    async fn resolve_one(&mut self, id: &OwnedEventId) -> Result<bool, BackfillError> {
        let text = match self.upstream.event(id).await {
            Ok(text) => text,
            Err(error) if error.is_absence() => {
                tracing::info!(room = %self.room, event = %id, "the old server does not have the event");
                self.give_up(id.clone(), GivenUp::Unavailable).await?;
                return Ok(true);
            }
            Err(error) => return Err(self.upstream_error()(error)),
        };
        let Some(known) = &mut self.known else { return Ok(false) };
        let event = known.rules.read(&text);
        let Some(event) = event.ok().filter(|event| event.id == *id) else {
            tracing::warn!(room = %self.room, event = %id, "the old server returns another event under this id");
            self.give_up(id.clone(), GivenUp::Invalid).await?;
            return Ok(true);
        };
        if self.is_shown(id).await? {
            return Ok(false);
        }
        let prev = event.prev().collect();
        let Some(known) = &mut self.known else { return Ok(false) };
        match known.check(event).await? {
            Ok(event) => {
                tracing::info!(room = %self.room, event = %id, "the old server showed the event to nobody");
                let pdu = event.into_pdu();
                self.host.add_outliers(&self.room, vec![pdu]).await.map_err(self.host_error())?;
                self.give_up(id.clone(), GivenUp::Withheld).await?;
            }
            Err(reason) => {
                tracing::warn!(room = %self.room, event = %id, %reason, "an event is refused");
                self.refused.insert(id.clone(), prev);
            }
        }
        Ok(true)
    }

    /// Whether `/backfill` gives an event if it is asked for it alone. It may have been left out because the answer was
    /// full.
    async fn is_shown(&self, id: &EventId) -> Result<bool, BackfillError> {
        let answer = self.upstream.backfill(&self.room, &[id.to_owned()], 1).await;
        let answer = answer.map_err(self.upstream_error())?;
        Ok(self.read(&answer).iter().any(|event| event.id == id))
    }
}
