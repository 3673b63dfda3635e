//! The order of a page.

use std::collections::{BTreeMap, BTreeSet};

use ruma::OwnedEventId;

/// An event and those before it.
pub(crate) trait Node {
    fn id(&self) -> &OwnedEventId;
    fn before(&self) -> Vec<OwnedEventId>;
}

/// Which of some events can be come to from others along `prev_events`, through the events themselves.
pub(crate) fn reachable<T: Node>(
    events: &[T],
    from: impl IntoIterator<Item = OwnedEventId>,
) -> BTreeSet<OwnedEventId> {
    let by_id: BTreeMap<_, _> = events.iter().map(|event| (event.id(), event)).collect();
    let mut found = BTreeSet::new();
    let mut waiting: Vec<_> = from.into_iter().collect();
    while let Some(id) = waiting.pop() {
        if let Some(event) = by_id.get(&id) {
            if found.insert(id) {
                waiting.extend(event.before());
            }
        }
    }
    found
}

/// Turns a page that comes newest first into one that begins with the oldest, in the same order but where an event would
/// come before one that it follows: the latter then comes first. Ids are hashes, so that there are no circles; if there
/// were, they would stay as they are.
pub(crate) fn oldest_first<T: Node>(newest_first: Vec<T>) -> Vec<T> {
    let ids: Vec<_> = newest_first.iter().rev().map(|event| event.id().clone()).collect();
    let mut left: BTreeMap<_, _> =
        newest_first.into_iter().map(|event| (event.id().clone(), event)).collect();
    let mut ordered = Vec::with_capacity(left.len());
    let mut entered = BTreeSet::new();
    for id in ids {
        // Depth first, without recursion: a chain may be as long as the page.
        let mut path = vec![id];
        while let Some(top) = path.last().cloned() {
            let Some(event) = left.get(&top) else {
                path.pop();
                continue;
            };
            let next = if entered.insert(top.clone()) {
                event.before().into_iter().filter(|id| left.contains_key(id)).collect()
            } else {
                Vec::new()
            };
            let next: Vec<_> = next.into_iter().filter(|id| !entered.contains(id)).collect();
            if next.is_empty() {
                path.pop();
                ordered.extend(left.remove(&top));
            } else {
                path.extend(next);
            }
        }
    }
    ordered
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use ruma::{EventId, OwnedEventId};

    use super::{Node, oldest_first, reachable};

    #[derive(Clone)]
    struct Named(OwnedEventId, Vec<OwnedEventId>);

    impl Node for Named {
        fn id(&self) -> &OwnedEventId {
            &self.0
        }

        fn before(&self) -> Vec<OwnedEventId> {
            self.1.clone()
        }
    }

    fn id(name: char) -> OwnedEventId {
        EventId::parse(format!("${name}")).unwrap()
    }

    /// `"cb ba a"`: c after b, b after a, a after nothing.
    fn events(text: &str) -> Vec<Named> {
        let event = |word: &str| {
            let mut ids = word.chars().map(id);
            Named(ids.next().unwrap(), ids.collect())
        };
        text.split_whitespace().map(event).collect()
    }

    fn ordered(text: &str) -> String {
        let names = oldest_first(events(text)).into_iter();
        names.map(|event| event.0.as_str().trim_start_matches('$').to_owned()).collect()
    }

    #[test]
    fn the_order_of_the_upstream_is_kept_where_it_can_be() {
        // a ← b ← c, and forks: the order of what is beside each other is the upstream's.
        assert_eq!(ordered("cb ba a"), "abc");
        assert_eq!(ordered("dbc ca ba a"), "abcd");
        assert_eq!(ordered("dbc ba ca a"), "acbd");
    }

    #[test]
    fn no_event_comes_before_one_that_it_follows() {
        assert_eq!(ordered("a ba cb"), "abc");
        assert_eq!(ordered("a cb ba dc"), "abcd");
        assert_eq!(ordered("x a ba"), "abx".chars().collect::<String>());
    }

    #[test]
    fn circles_end() {
        let mut names: Vec<_> = ordered("ab bc ca dd").chars().collect();
        names.sort_unstable();
        assert_eq!(names, ['a', 'b', 'c', 'd']);
        assert_eq!(ordered(""), "");
    }

    #[test]
    fn what_nobody_names_is_not_reachable() {
        let found = reachable(&events("cb ba a xy y"), [id('c')]);
        assert_eq!(found, BTreeSet::from([id('a'), id('b'), id('c')]));
        let found = reachable(&events("ab ba"), [id('a'), id('z')]);
        assert_eq!(found, BTreeSet::from([id('a'), id('b')]));
    }
}
