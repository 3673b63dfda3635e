//! Push rules: from rows of Synapse's database to the whole tree that clients see.
