//! Configuration: `postrider.toml`, overridden by `POSTRIDER_SECTION__KEY`, checked once at the start.

mod jwt;
mod kept_secret;
mod load;
mod sections;
#[cfg(test)]
mod tests;
mod values;

pub use jwt::Jwt;
pub use load::{ConfigError, Environment, load};
pub use sections::*;
