//! Shared by the API and the worker: configuration, the model of a message, secrets, the three stores of state (queue,
//! code store, database) with their backends, and what every process needs at run time.

pub mod accept;
pub mod config;
pub mod database;
pub mod model;
pub mod queue;
pub mod restore_bans;
pub mod runtime;
pub mod secrets;
pub mod sqlite;
pub mod store;
