//! Shorter forms for Redis, whose Lua pays for every field that it is given: what a script needn't look into comes as one
//! string of JSON, what every request has many of as a list without names. JSON, for `SQLite`, has everything by name.

use serde::de::Error as _;
use serde::ser::{Error as _, SerializeSeq as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{ClaimVerification, LimitCheck, LimitState, NewVerification};
use crate::model::ids::VerificationId;

/// Writes a value that is kept, or seldom looked into, as a string of JSON.
pub(super) fn whole<T: Serialize, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
    if to.is_human_readable() {
        return value.serialize(to);
    }
    to.serialize_str(&serde_json::to_string(value).map_err(S::Error::custom)?)
}

/// Writes limits. Short: one list, of each its key, quota, window in ms, rank and whether it is the phone's; and the key
/// under which the phone's are kept together, if there are any.
pub(super) fn listed<S: Serializer>(limits: &[LimitCheck], to: S) -> Result<S::Ok, S::Error> {
    if to.is_human_readable() {
        return limits.serialize(to);
    }
    let together = limits.iter().find_map(|limit| limit.phone.as_deref());
    (Listed(limits), together).serialize(to)
}

/// Writes a new verification. Short: what the guard looks at, and all of it as a string of JSON, which is kept.
#[expect(clippy::ref_option, reason = "serde hands it over so")]
pub(super) fn looked_at<S: Serializer>(
    verification: &Option<NewVerification>,
    to: S,
) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct LookedAt<'a> {
        id: VerificationId,
        subject: &'a str,
        ttl_ms: i64,
        max_sends: u32,
        remember_ms: i64,
        given: String,
    }
    let Some(new) = verification.as_ref().filter(|_| !to.is_human_readable()) else {
        return verification.serialize(to);
    };
    let given = serde_json::to_string(new).map_err(S::Error::custom)?;
    let NewVerification { id, ref subject, ttl_ms, max_sends, remember_ms, .. } = *new;
    LookedAt { id, subject, ttl_ms, max_sends, remember_ms, given }.serialize(to)
}

struct Listed<'a>(&'a [LimitCheck]);

impl Serialize for Listed<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut list = to.serialize_seq(Some(5 * self.0.len()))?;
        for limit in self.0 {
            list.serialize_element(&limit.key)?;
            list.serialize_element(&limit.quota)?;
            list.serialize_element(&limit.window_ms)?;
            list.serialize_element(&limit.rank)?;
            list.serialize_element(&limit.phone.is_some())?;
        }
        list.end()
    }
}

/// Reads the states of limits. Short: one list, of each how many more pass and the wait.
pub(in crate::store) fn states<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Vec<LimitState>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Part {
        // First: to try the other one makes the words of an error.
        Number(i64),
        Named(LimitState),
    }
    let mut states = Vec::new();
    let mut parts = Vec::<Part>::deserialize(from)?.into_iter();
    while let Some(part) = parts.next() {
        states.push(match (part, &mut parts) {
            (Part::Named(state), _) => state,
            (Part::Number(remaining), rest) => {
                let Some(Part::Number(wait_ms)) = rest.next() else {
                    return Err(D::Error::custom("a limit's state without its wait"));
                };
                let remaining = u32::try_from(remaining).map_err(D::Error::custom)?;
                LimitState { remaining, wait_ms }
            }
        });
    }
    Ok(states)
}

/// Short: `[id, all of it as a string of JSON, expires_at]`.
impl Serialize for ClaimVerification {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Named<'a> {
            subject: &'a str,
            account_id: i64,
            purpose: &'a str,
            key_id: &'a crate::secrets::KeyId,
            max_sends: u32,
            #[serde(flatten)]
            job: &'a crate::model::job::JobVerification,
        }
        let Self { subject, account_id, purpose, key_id, max_sends, job } = self;
        let (account_id, max_sends) = (*account_id, *max_sends);
        let named = Named { subject, account_id, purpose, key_id, max_sends, job };
        if to.is_human_readable() {
            return named.serialize(to);
        }
        let json = serde_json::to_string(&named).map_err(S::Error::custom)?;
        (job.id, json, job.expires_at).serialize(to)
    }
}
