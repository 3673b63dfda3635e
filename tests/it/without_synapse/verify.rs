//! What verification says of a sound database, and of each kind of damage.

mod against_dump;
mod encryption;
mod structure;

use std::fmt::Write as _;

/// Notes all that is found of one damage, for a snapshot of the whole.
fn note(all: &mut String, number: u32, expected: &str, found: &[String]) {
    writeln!(all, "{number}. {expected}").unwrap();
    for line in found {
        writeln!(all, "   {line}").unwrap();
    }
}
