//! Shorter forms for Redis, whose Lua pays for every field that it is given: what a script needn't look into comes as one
//! string of JSON, what every request has many of as a list without names. JSON, for `SQLite`, has everything by name.

use serde::ser::{Error as _, SerializeStruct as _};
use serde::{Serialize, Serializer};

use super::{ClaimVerification, LimitCheck};

/// Writes a value that is kept, or seldom looked into, as a string of JSON.
pub(super) fn whole<T: Serialize, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
    if to.is_human_readable() {
        return value.serialize(to);
    }
    to.serialize_str(&serde_json::to_string(value).map_err(S::Error::custom)?)
}

/// Writes limits that are kept too, for giving back. Short: a list, and the same as a string of JSON.
pub(super) fn kept<S: Serializer>(limits: &[LimitCheck], to: S) -> Result<S::Ok, S::Error> {
    if to.is_human_readable() {
        return limits.serialize(to);
    }
    let places: Vec<_> = limits.iter().map(LimitCheck::places).collect();
    let kept = serde_json::to_string(&places).map_err(S::Error::custom)?;
    (places, kept).serialize(to)
}

impl LimitCheck {
    fn places(&self) -> (&str, u32, i64, u8, bool) {
        (&self.key, self.quota, self.window_ms, self.rank, self.refund)
    }
}

/// Short: `[key, quota, window_ms, rank, refund]`.
impl Serialize for LimitCheck {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if !to.is_human_readable() {
            return self.places().serialize(to);
        }
        let Self { key, scope, quota, window_ms, rank, refund } = self;
        let mut to = to.serialize_struct("LimitCheck", 6)?;
        to.serialize_field("key", key)?;
        to.serialize_field("scope", scope)?;
        to.serialize_field("quota", quota)?;
        to.serialize_field("window_ms", window_ms)?;
        to.serialize_field("rank", rank)?;
        to.serialize_field("refund", refund)?;
        to.end()
    }
}

/// Short: `[id, all of it as a string of JSON]`.
impl Serialize for ClaimVerification {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Named<'a> {
            subject: &'a str,
            account_id: i64,
            purpose: &'a str,
            key_id: &'a crate::secret::KeyId,
            max_sends: u32,
            #[serde(flatten)]
            job: &'a crate::job::JobVerification,
        }
        let Self { subject, account_id, purpose, key_id, max_sends, job } = self;
        let (account_id, max_sends) = (*account_id, *max_sends);
        let named = Named { subject, account_id, purpose, key_id, max_sends, job };
        if to.is_human_readable() {
            return named.serialize(to);
        }
        (job.id, serde_json::to_string(&named).map_err(S::Error::custom)?).serialize(to)
    }
}
