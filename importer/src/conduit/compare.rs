//! Two databases, row by row.

#[cfg(test)]
mod tests;

use std::{
    cmp::Ordering,
    collections::BTreeSet,
    io::{self, Write},
    iter::Peekable,
};

use serde_json::{Map, Value as Json, json};

use super::{
    inspect::{InspectError, shown},
    schema::trees::{PATCHED, Tree},
    store::{Entries, Entry, KvError, KvRead},
};

/// How many rows differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// Rows of both databases; those with the same key count once.
    pub rows: u64,
    /// Rows that only one of them has, or that have another value.
    pub differences: u64,
}

/// Compares `tree`, or all trees, of two databases; if they are different servers', the trees that both have. Writes the first `most` rows that differ as lines
/// `{"tree", "key": {…}, "first": {…}, "second": {…}}`, without `first` or `second` if only the other one has the row;
/// rows that don't decode are shown as [`super::inspect::inspect`] shows them, and so are secrets unless `secrets`. A tree
/// that Conduit does not know and only one of them has counts as one row; those of [`PATCHED`] don't, as a patched Conduit
/// makes them on any database.
///
/// # Errors
///
/// [`InspectError`].
pub fn compare(
    first: &dyn KvRead,
    second: &dyn KvRead,
    tree: Option<&'static Tree>,
    secrets: bool,
    most: u64,
    out: &mut dyn Write,
) -> Result<Compared, InspectError> {
    let mut comparison = Comparison { compared: Compared::default(), secrets, most, out };
    let all = || first.dialect().common_trees(second.dialect());
    for tree in tree.map_or_else(all, |tree| vec![tree]) {
        if first.is_ordered(tree) && second.is_ordered(tree) {
            let mut first = first.scan(tree, &[])?.peekable();
            let mut second = second.scan(tree, &[])?.peekable();
            while let Some((first, second)) = next(&mut first, &mut second)? {
                comparison.row(tree, first, second)?;
            }
        } else {
            comparison.by_lookups(tree, first, second)?;
        }
    }
    if tree.is_none() {
        let trees = |store: &dyn KvRead| {
            Ok::<BTreeSet<_>, KvError>(store.foreign_trees()?.into_iter().collect())
        };
        let (first, second) = (trees(first)?, trees(second)?);
        let foreign = first.symmetric_difference(&second);
        for name in foreign.filter(|name| !PATCHED.contains(&name.as_str())) {
            comparison.compared.rows += 1;
            comparison.differ(&json!({ "tree": name }))?;
        }
    }
    Ok(comparison.compared)
}

/// A row of each database, with the same key.
type Pair = (Option<Entry>, Option<Entry>);

/// The next row of either, or of both if it has the same key.
fn next(
    first: &mut Peekable<Entries<'_>>,
    second: &mut Peekable<Entries<'_>>,
) -> Result<Option<Pair>, KvError> {
    let order = match (first.peek(), second.peek()) {
        (None, None) => return Ok(None),
        (Some(Ok((first, _))), Some(Ok((second, _)))) => first.cmp(second),
        (Some(Err(_)), _) | (_, None) => Ordering::Less,
        (_, Some(Err(_))) | (None, _) => Ordering::Greater,
    };
    let first = if order.is_le() { first.next().transpose()? } else { None };
    let second = if order.is_ge() { second.next().transpose()? } else { None };
    Ok(Some((first, second)))
}

struct Comparison<'a> {
    compared: Compared,
    secrets: bool,
    most: u64,
    out: &'a mut dyn Write,
}

impl Comparison<'_> {
    /// Compares a tree whose rows have different orders.
    fn by_lookups(
        &mut self,
        tree: &'static Tree,
        first: &dyn KvRead,
        second: &dyn KvRead,
    ) -> Result<(), InspectError> {
        for row in first.scan(tree, &[])? {
            let (key, value) = row?;
            let other = second.get(tree, &key)?.map(|other| (key.clone(), other.into()));
            self.row(tree, Some((key, value)), other)?;
        }
        for row in second.scan(tree, &[])? {
            let (key, value) = row?;
            if first.get(tree, &key)?.is_none() {
                self.row(tree, None, Some((key, value)))?;
            }
        }
        Ok(())
    }

    fn row(
        &mut self,
        tree: &'static Tree,
        first: Option<Entry>,
        second: Option<Entry>,
    ) -> Result<(), InspectError> {
        self.compared.rows += 1;
        if first == second {
            return Ok(());
        }
        let mut line = Map::from_iter([("tree".to_owned(), tree.name.into())]);
        for (name, row) in [("first", first), ("second", second)] {
            let Some((key, value)) = row else { continue };
            let Json::Object(mut shown) = shown(tree, &key, &value, self.secrets) else { continue };
            for part in ["key", "key_hex", "error"] {
                if let Some(value) = shown.remove(part) {
                    line.insert(part.to_owned(), value);
                }
            }
            let value = shown.remove("value").or_else(|| shown.remove("value_hex"));
            line.insert(name.to_owned(), value.unwrap_or_default());
        }
        self.differ(&line.into())
    }

    fn differ(&mut self, line: &Json) -> Result<(), InspectError> {
        self.compared.differences += 1;
        if self.compared.differences <= self.most {
            serde_json::to_writer(&mut *self.out, line).map_err(io::Error::from)?;
            self.out.write_all(b"\n")?;
        }
        Ok(())
    }
}
