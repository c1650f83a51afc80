//! Parts of every process: its listener, clock, logs and metrics, data folder and shutdown.

pub mod clock;
pub mod data_dir;
pub mod http;
pub mod outage_log;
pub mod shutdown;
pub mod telemetry;
pub mod terminal;
pub mod write_health;
