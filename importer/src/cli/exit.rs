//! Exit codes.

/// All is well.
pub const CLEAN: u8 = 0;
/// The run failed.
pub const FAILED: u8 = 1;
// 2 is clap's: wrong usage.
/// The source could not be read: down, wrong token, wrong key, unsupported version.
pub const SOURCE: u8 = 3;
/// The dump is no dump, incomplete or damaged.
pub const DUMP: u8 = 4;
/// The target is not empty, not writable or full.
pub const TARGET: u8 = 5;
/// Findings that must be dealt with first.
pub const BLOCKING: u8 = 10;
/// Warnings only.
pub const WARNINGS: u8 = 11;
