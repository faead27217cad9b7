//! Stores: create, see, start, stop, restart, delete.
