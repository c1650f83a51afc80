//! What the API and the worker must agree on, and nothing else: configuration, the job, the code, and the
//! three seams (queue, store, database) with their backends; and how either serves a listener.

pub mod accept;
pub mod address;
pub mod clock;
pub mod code;
pub mod config;
pub mod data_dir;
pub mod database;
pub mod digits;
pub mod epoch;
pub mod http;
pub mod ids;
pub mod job;
pub mod limits;
pub mod owner;
pub mod phone;
pub mod queue;
pub mod sandbox;
pub mod secret;
pub mod shutdown;
pub mod sqlite;
pub mod store;
pub mod telemetry;
pub mod template;
pub mod write_health;
