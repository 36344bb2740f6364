//! How releases are told, as tables.
