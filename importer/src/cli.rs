//! The command line: arguments in, exit code out. Each command has a file.

pub mod exit;
