//! The command `importer`.

fn main() {}
