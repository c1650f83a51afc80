//! The values that a message is made of: phone number, code, job, limits, template. Nothing here does I/O.

pub mod address;
pub mod code;
pub(crate) mod digits;
pub mod ids;
pub mod job;
pub mod limits;
pub mod owner;
pub mod phone;
pub mod sandbox;
pub mod template;
