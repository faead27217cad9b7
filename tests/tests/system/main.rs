//! Whole-system stories on the system that `deploy/quickstart` installed: real Docker, real PHP, through the public API.
//!
//! They run one after the other (`--test-threads=1`): they share one machine, and some of them kill parts of it.

mod bad_days;
mod bad_input;
mod browser;
mod buyers;
mod clients;
mod connections;
mod demo;
mod docker_kills;
mod drift;
mod edge_upgrade;
mod engine_faults;
mod explain;
mod frozen;
mod host_names;
mod hostile;
mod isolation;
mod kills;
mod lifecycle;
mod load;
mod quickstart;
mod second_node;
mod self_upgrade;
mod tasks;
mod update;
mod update_kills;
mod uplink;
