//! What is known after a run: what the callers got, what the providers received, what the tables hold, and what was
//! done to the service meanwhile. Times are unix milliseconds.

use std::collections::BTreeMap;

use postrider_common::model::job::Lane;
use postrider_common::model::limits::Scope;

use super::plan::Fault;

/// From when to when.
pub type Span = (i64, i64);

/// All of it.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    pub sends: Vec<Send>,
    pub checks: Vec<Check>,
    pub bans: Vec<Ban>,
    /// Poison that was put onto the queue, by the id that its dead letter must have.
    pub poison: BTreeMap<String, Poison>,
    pub calls: Vec<Call>,
    pub rows: Vec<Row>,
    pub attempts: Vec<Attempt>,
    pub dead: Vec<Dead>,
    pub faults: Vec<Done>,
    /// Messages left by queue, where any are.
    pub left: BTreeMap<String, u64>,
    pub rules: Rules,
    /// Milliseconds from the end of the last fault until each process served.
    pub recovered: BTreeMap<String, Option<i64>>,
    /// Milliseconds until nothing was left in any queue.
    pub drained: Option<i64>,
}

/// What the service was configured with.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    pub limits: Vec<Limit>,
    /// By purpose, from a code's acceptance to the last moment at which it may be handed over.
    pub code_lives_ms: BTreeMap<String, i64>,
    pub max_attempts: i64,
    /// A provider's read time-out.
    pub read_timeout_ms: i64,
    pub recovery_ms: i64,
}

/// At most `quota` messages of a lane within any `window_ms`, of whatever `scope` tells apart.
#[derive(Debug, Clone)]
pub struct Limit {
    pub lane: Lane,
    pub scope: Scope,
    pub quota: usize,
    pub window_ms: i64,
}

/// One phone of one request.
#[derive(Debug, Clone)]
pub struct Send {
    pub step: usize,
    pub lane: Lane,
    pub phone: String,
    /// A repeat has that of what it repeats.
    pub key: Option<String>,
    pub asked: i64,
    pub ended: i64,
    pub fate: Fate,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    Accepted {
        id: String,
        verification: Option<String>,
    },
    /// A problem's word: nothing came of it.
    Refused(String),
    /// Nobody told the caller what came of it.
    Doubtful(String),
}

#[derive(Debug, Clone)]
pub struct Check {
    pub step: usize,
    pub key: Option<String>,
    /// Where it was checked by id.
    pub verification: Option<String>,
    pub right: bool,
    pub asked: i64,
    pub ended: i64,
    pub verdict: Verdict,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Approved(String),
    Refused { word: String, attempts_left: Option<i64> },
    Doubtful(String),
}

/// A phone's ban, which its admin was told is set, and which was lifted later.
#[derive(Debug, Clone)]
pub struct Ban {
    pub phone: String,
    /// When it was asked for by the request that was told so.
    pub asked: i64,
    /// When that was told.
    pub told: i64,
    /// From when on it may have been lifted.
    pub lifting: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Poison {
    Garbage,
    /// A message's id.
    BrokenJob(String),
}

/// A call of a provider.
#[derive(Debug, Clone)]
pub struct Call {
    pub id: String,
    pub code: Option<String>,
    pub at: i64,
    pub carried: bool,
    pub answered: bool,
}

/// A row of `sms_log`.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Row {
    pub id: String,
    pub verification_id: Option<String>,
    #[sqlx(rename = "type")]
    pub kind: i32,
    pub phone_number: String,
    pub purpose: Option<String>,
    pub client_ip: Option<String>,
    pub attempts: i32,
    pub status: i32,
    pub error_code: Option<String>,
    pub create_time: i64,
}

pub const FAILED: i32 = 0;
pub const SENT: i32 = 1;

impl Row {
    pub fn lane(&self) -> Lane {
        if self.kind == Lane::Code.row_type() { Lane::Code } else { Lane::Notice }
    }
}

/// A row of `sms_attempt`.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Attempt {
    pub message_id: String,
    pub number: i32,
    pub outcome: String,
    pub at: i64,
    pub duration_ms: i64,
    pub error_code: Option<String>,
}

/// A row of `dead_letter`.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Dead {
    pub id: String,
    pub message_id: Option<String>,
    pub reason: String,
}

/// A fault, as it was.
#[derive(Debug, Clone)]
pub struct Done {
    pub fault: Fault,
    pub begun: i64,
    pub ended: i64,
}

impl Evidence {
    /// Whether such a fault was there at any moment from `from` to `to`.
    pub fn fault(&self, from: i64, to: i64, is_cause: impl Fn(Fault) -> bool) -> bool {
        self.faults
            .iter()
            .any(|done| done.begun <= to && done.ended >= from && is_cause(done.fault))
    }

    /// Whether Redis may have forgotten what it was told then, since it failed over: that lasts from before its replica
    /// lags until after the promoted one serves, so that all that was lost lies in between.
    pub fn may_forget(&self, (from, to): Span) -> bool {
        self.fault(from, to, |fault| fault == Fault::FailOver)
    }

    /// Whether Redis may have forgotten all of what it was told at these times but the last, which it should have refused.
    pub fn may_forget_all_before_the_last(&self, times: impl IntoIterator<Item = Span>) -> bool {
        let mut times: Vec<_> = times.into_iter().collect();
        times.sort_unstable();
        let before = times.split_last().map_or(&[][..], |(_, before)| before);
        before.iter().all(|time| self.may_forget(*time))
    }
}
