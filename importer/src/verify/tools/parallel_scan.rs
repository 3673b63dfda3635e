//! Rows in batches: all cores look at each row by itself, the caller gets what they found in order.

use rayon::prelude::*;

use crate::{
    conduit::{
        schema::trees::Tree,
        store::{Entry, KvStore},
    },
    verify::VerifyError,
};

/// Bytes of rows that make a batch.
const BATCH_BYTES: usize = 1 << 20;

/// Gives each row of a tree to `look`, and what that makes of it to `take`.
pub(in crate::verify) fn scan<T: Send>(
    store: &dyn KvStore,
    tree: &'static Tree,
    prefix: &[u8],
    look: impl Fn(&[u8], &[u8]) -> T + Sync,
    mut take: impl FnMut(&[u8], &[u8], T) -> Result<(), VerifyError>,
) -> Result<(), VerifyError> {
    let mut rows = store.scan(tree, prefix)?;
    loop {
        let mut batch: Vec<Entry> = Vec::new();
        let mut bytes: usize = 0;
        while bytes < BATCH_BYTES {
            let Some(row) = rows.next() else { break };
            let (key, value) = row?;
            bytes = bytes.saturating_add(key.len()).saturating_add(value.len()).saturating_add(64);
            batch.push((key, value));
        }
        if batch.is_empty() {
            return Ok(());
        }
        let looked: Vec<T> =
            batch.par_iter().with_min_len(32).map(|(key, value)| look(key, value)).collect();
        for ((key, value), looked) in batch.iter().zip(looked) {
            take(key, value, looked)?;
        }
    }
}
