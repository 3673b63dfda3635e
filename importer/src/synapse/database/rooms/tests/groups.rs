//! State groups in every shape, against what they spell out to.

use std::collections::BTreeMap;

use super::{CREATE, JOIN, current, room, section};
use crate::{
    dump::History,
    synapse::database::testing::{Fixture, NewEvent},
};

/// Numbers that look random and are the same each time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap().checked_rem(limit).unwrap()
    }
}

type State = BTreeMap<String, String>;

fn values(state: &State) -> Vec<String> {
    let mut values: Vec<_> = state.values().cloned().collect();
    values.sort();
    values
}

/// Groups that build on any earlier one, whole ones between them; messages that jump to and fro between them. Of the way
/// back, tests remember twenty changes: often enough a state must be read again.
#[tokio::test]
async fn states_are_what_their_groups_spell_out_wherever_forks_lead() {
    for seed in 0..6 {
        let mut numbers = Numbers(seed);
        let mut fixture = Fixture::new();
        room(&mut fixture);
        current(&mut fixture, &[CREATE, JOIN]);
        let first =
            State::from([("create".into(), "$create".into()), ("join".into(), "$join".into())]);
        let mut groups: Vec<(i64, State)> = vec![(2, first)];
        let mut expected = Vec::new();
        for number in 0..150 {
            let event_id = format!("$e{number:03}");
            if numbers.below(3) == 0 {
                // Mostly the newest, sometimes any.
                let base = if numbers.below(3) == 0 {
                    numbers.below(groups.len())
                } else {
                    groups.len() - 1
                };
                let (base, mut state) = groups[base].clone();
                let group = 100 + number;
                let key = format!("k{}", numbers.below(8));
                state.insert(key.clone(), event_id.clone());
                fixture.event(&NewEvent {
                    id: &event_id,
                    kind: "state",
                    state_key: Some(&key),
                    prev: &["$nowhere", "$else"],
                    group: Some(group),
                    ..NewEvent::default()
                });
                if numbers.below(5) == 0 {
                    let mut entries = vec![CREATE, JOIN];
                    entries.extend(
                        state
                            .iter()
                            .filter(|(key, _)| key.starts_with('k'))
                            .map(|(key, id)| ("state", key.as_str(), id.as_str())),
                    );
                    fixture.group(group, None, &entries);
                } else {
                    fixture.group(group, Some(base), &[("state", &key, &event_id)]);
                }
                // After a fork, the state before is the group's without what the event set.
                let mut before = state.clone();
                before.remove(&key);
                expected.push((event_id, values(&before)));
                groups.push((group, state));
            } else {
                let (group, state) = groups[numbers.below(groups.len())].clone();
                fixture.event(&NewEvent {
                    id: &event_id,
                    group: Some(group),
                    ..NewEvent::default()
                });
                expected.push((event_id, values(&state)));
            }
        }
        let dump = fixture.dump(History::Full).await;
        assert_eq!(section(&dump.rooms[0], "timeline")[2..], expected, "seed {seed}");
        assert_eq!(dump.skipped, [], "seed {seed}");
    }
}
