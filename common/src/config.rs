//! Configuration: `postrider.toml`, overridden by `POSTRIDER_SECTION__KEY`, checked once at the start.

mod accounts;
mod check;
mod dialects;
mod jwt;
mod kept_secret;
mod load;
mod sections;
#[cfg(test)]
mod tests;
mod values;

pub use accounts::*;
pub use dialects::{Anonymous, Dialect, Dialects, Flask, Mall, Platform};
pub use jwt::Jwt;
pub use load::{ConfigError, Environment, load};
pub use sections::*;
