//! The process: its parts, its state and its listeners.

pub mod backends;
pub mod data_lock;
pub mod serve;
pub mod state;
pub mod welcome;
