//! Configuration: `postrider.toml`, overridden by `POSTRIDER_SECTION__KEY`, checked once at the start.

mod accounts;
mod check;
mod credentials;
mod dialects;
mod jwt;
mod kept_secret;
mod limits;
mod load;
mod origin;
mod providers;
mod sections;
#[cfg(test)]
mod tests;
mod values;
mod warnings;

pub use accounts::*;
pub use dialects::{Anonymous, Dialect, Dialects, Flask, Mall, Platform};
pub use jwt::Jwt;
pub use limits::{Limits, ScopeLimits, ScopeOverrides, limit_order};
pub use load::{ConfigError, Environment, load, load_for_command};
pub use providers::{Provider, ProviderKind};
pub use sections::*;
