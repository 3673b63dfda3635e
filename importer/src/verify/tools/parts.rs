//! Work on all cores, in parts: a tree's rows in ranges of keys, each of which is read, decoded and judged by one core. What
//! they find comes together in the order of the keys, so the number of cores changes nothing.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError, mpsc::sync_channel},
};

use crate::{
    conduit::{schema::trees::Tree, store::KvRead},
    verify::VerifyError,
};

/// Bytes of a part on disk, compressed: a tenth of a second's work.
const PART_BYTES: u64 = 512 << 10;

/// A range of a tree's keys.
#[derive(Clone, Debug)]
pub(in crate::verify) struct Part {
    pub(in crate::verify) tree: &'static Tree,
    from: Vec<u8>,
    /// The key that is no longer in it; `None` for the last part.
    until: Option<Vec<u8>>,
}

impl Part {
    /// All parts of a tree, in order.
    pub(in crate::verify) fn of(
        store: &dyn KvRead,
        tree: &'static Tree,
    ) -> Result<Vec<Self>, VerifyError> {
        let mut parts = Vec::new();
        let mut from = Vec::new();
        for until in store.divide(tree, PART_BYTES)? {
            parts.push(Self { tree, from, until: Some(until.clone()) });
            from = until;
        }
        parts.push(Self { tree, from, until: None });
        Ok(parts)
    }

    /// Gives each row to `visit`, in order.
    pub(in crate::verify) fn each(
        &self,
        store: &dyn KvRead,
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<(), VerifyError>,
    ) -> Result<(), VerifyError> {
        let mut visited = Ok(());
        store.visit(self.tree, &self.from, &mut |key, value| {
            if self.until.as_deref().is_some_and(|until| key >= until) {
                return false;
            }
            visited = visit(key, value);
            visited.is_ok()
        })?;
        visited
    }
}

/// Does `work` for each item, on all cores if the store can be read by several threads. `take` is given what comes out of it
/// in the order of the items, while others are worked on.
pub(in crate::verify) fn work<I: Send, T: Send>(
    store: &dyn KvRead,
    items: impl IntoIterator<Item = I, IntoIter: Send>,
    work: impl Fn(&dyn KvRead, I) -> Result<T, VerifyError> + Sync,
    mut take: impl FnMut(T) -> Result<(), VerifyError>,
) -> Result<(), VerifyError> {
    let mut items = items.into_iter();
    let Some(shared) = store.shared() else {
        return items.try_for_each(|item| take(work(store, item)?));
    };
    let threads = rayon::current_num_threads();
    let items = Mutex::new(items.enumerate());
    let next = || items.lock().unwrap_or_else(PoisonError::into_inner).next();
    // What was made out of turn is kept until its turn, so it must be small against the rows it was made of; a thread waits
    // if even that is not fetched.
    let (sender, made) = sync_channel(threads);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let (sender, next, work) = (sender.clone(), &next, &work);
            scope.spawn(move || {
                while let Some((at, item)) = next() {
                    if sender.send((at, work(shared, item))).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        let mut early = BTreeMap::new();
        let mut due: usize = 0;
        for (at, made) in made {
            early.insert(at, made);
            while let Some(made) = early.remove(&due) {
                take(made?)?;
                due += 1;
            }
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conduit::{
        schema::trees::SHORTEVENTID_SHORTSTATEHASH,
        store::{KvError, KvLoad as _, Row, memory::MemoryStore},
    };

    fn store(rows: u64) -> MemoryStore {
        let tree = &SHORTEVENTID_SHORTSTATEHASH;
        let row = |n: u64| Row { tree, key: n.to_be_bytes().into(), value: [7; 8].into() };
        let mut store = MemoryStore::default();
        store.write((0..rows).map(row).collect()).unwrap();
        store
    }

    #[test]
    fn parts_hold_each_row_once_and_come_in_order() {
        for rows in [0, 1, 3, 4, 100] {
            let store = store(rows);
            let parts = Part::of(&store, &SHORTEVENTID_SHORTSTATEHASH).unwrap();
            let mut found = Vec::new();
            let keys = |store: &dyn KvRead, part: &Part| {
                let mut keys = Vec::new();
                part.each(store, |key, _| {
                    keys.push(u64::from_be_bytes(key.try_into().unwrap()));
                    Ok(())
                })?;
                Ok(keys)
            };
            work(&store, &parts, keys, |keys| {
                found.extend(keys);
                Ok(())
            })
            .unwrap();
            assert!(found.into_iter().eq(0..rows));
        }
    }

    #[test]
    fn the_first_error_in_order_ends_it() {
        let error = |tree| VerifyError::from(KvError::Read { tree, reason: "no".into() });
        let work_on = |_: &dyn KvRead, item: u64| match item {
            50 => Err(error("first")),
            60 => Err(error("second")),
            _ => Ok(item),
        };
        let mut taken = Vec::new();
        let ended = work(&store(0), 0..100, work_on, |item| {
            taken.push(item);
            Ok(())
        });
        assert!(ended.unwrap_err().to_string().contains("`first`"));
        assert!(taken.into_iter().eq(0..50));
    }
}
