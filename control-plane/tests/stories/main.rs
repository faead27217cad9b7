//! The whole control plane as its users meet it: real `init`, TLS, SQLite and APIs, with nodes and shop agents that follow a script. No Docker.

mod api;
#[path = "../support/client.rs"]
mod client;
#[path = "../support/memory.rs"]
mod memory;
mod node;
mod plane;
mod postgres;
mod shop;
#[path = "../support/wait.rs"]
mod wait;
mod world;

mod backup;
mod canary;
mod changes;
mod database;
mod deletion;
mod flapping;
mod images;
mod kills;
mod liars;
mod life;
mod requests;
mod rollouts;
mod room;
mod tasks;
mod trouble;
mod updates;
mod wishes;
