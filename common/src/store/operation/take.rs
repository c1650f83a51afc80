//! Limits and bans by themselves, without a message or a check: looked at, counted, given back.

use serde::{Deserialize, Serialize};

use super::{Ban, BanCheck, Banned, LimitCheck, LimitState};

/// Asks how limits and bans stand; counts nothing.
#[derive(Debug, Clone, Serialize)]
pub struct Explain {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub now: Option<i64>,
    #[serde(serialize_with = "super::short::listed")]
    pub limits: Vec<LimitCheck>,
    pub ban_check: BanCheck,
}

/// How limits and bans stand at `now`, unix milliseconds of the store's clock.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Explained {
    pub now: i64,
    /// One for each limit asked about, in their order.
    #[serde(default)]
    pub limits: Vec<LimitUse>,
    /// Every ban in force that hits: the phone's before the address's, the widest first.
    #[serde(default)]
    pub bans: Vec<Ban>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct LimitUse {
    pub used: u32,
    pub remaining: u32,
    /// Milliseconds until one more passes; 0 where one would pass now.
    pub wait_ms: i64,
}

/// Asks for one entry in each limit, all or nothing.
#[derive(Debug, Clone, Serialize)]
pub struct Take {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub now: Option<i64>,
    /// In the order in which they are looked at.
    #[serde(serialize_with = "super::short::listed")]
    pub limits: Vec<LimitCheck>,
    pub ban_check: BanCheck,
    /// Tells this entry from every other.
    pub entry: String,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum TakeAnswer {
    /// Counted, at `at` of the store's clock.
    Taken {
        at: i64,
        #[serde(default, deserialize_with = "super::short::states")]
        limits: Vec<LimitState>,
    },
    /// `limits[index]` is used up; one passes after `wait_ms`.
    Limited {
        index: usize,
        wait_ms: i64,
        #[serde(default, deserialize_with = "super::short::states")]
        limits: Vec<LimitState>,
    },
    Banned {
        what: Banned,
        until: i64,
        #[serde(default, deserialize_with = "super::short::states")]
        limits: Vec<LimitState>,
    },
}

/// Takes back what a [`Take`] counted: the same limits and entry, and the time that it was counted at. Once: a limit
/// above 1,000 has no entries, so that giving back twice takes another's.
#[derive(Debug, Clone, Serialize)]
pub struct GiveBack {
    #[serde(serialize_with = "super::short::listed")]
    pub limits: Vec<LimitCheck>,
    pub entry: String,
    pub at: i64,
}
