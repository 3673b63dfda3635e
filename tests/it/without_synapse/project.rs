//! Promises of the repository: patches, walls between folders, what `proxy-config` prints.

mod patches;
mod proxy;
mod vendoring;
mod walls;
