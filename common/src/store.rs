//! The code store: verifications, message states, limits, bans, claims. Everything that two processes must
//! agree on at once is decided here, each operation one atomic step and one round trip.
//!
//! Two backends, Redis (one Lua script an operation) and `SQLite` (one text of SQL an operation), take the
//! same request and give the same answer (`operation.rs`), as `MessagePack` and as JSON. One contract suite runs over both.

mod clock;
mod operation;
pub mod redis;
pub mod sqlite;

use std::time::{Duration, Instant};

pub use clock::{AskedAt, StoreClock};
use futures::{StreamExt as _, TryStreamExt as _, stream};
pub use operation::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

use self::redis::wire;
use crate::model::ids::{MessageId, VerificationId};
use crate::model::job::Lane;
use crate::model::owner::Owner;
use crate::model::phone::PhoneNumber;

const PURGE_EVERY: Duration = Duration::from_mins(1);
/// Steps of an archive under way: beside a load of sends each waits for some calls of theirs, and rows wait for them all.
const ARCHIVES_UNDER_WAY: usize = 8;

/// The code store of this process.
#[derive(Debug, Clone)]
pub enum Store {
    Redis(redis::RedisStore),
    Sqlite(sqlite::SqliteStore),
}

/// Why the store gave no answer. None of the first three says whether the operation was done.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    #[error("the store can't be reached: {0}")]
    Unavailable(String),
    #[error("the store lost its data; bans and revocations are not loaded yet")]
    Lost,
    #[error("the store answered what nobody can read: {0}")]
    Broken(String),
    /// Only of a check: calls are answered as ever.
    #[error("the store is set up so that it may lose what it keeps: {0}")]
    Unfit(String),
}

impl Store {
    /// The guard of a send: decides, and counts what it admits.
    pub async fn admit(&self, request: &Admit) -> Result<AdmitAnswer, StoreError> {
        let _timer = Timer::start("admit", Some(request.lane));
        let answer = match self {
            Self::Redis(store) => store.admit(request).await,
            Self::Sqlite(_) => self.call_of(request.lane, Operation::Admit, request).await,
        };
        self.record(&answer, |answer| matches!(answer, AdmitAnswer::Admitted { .. }));
        answer
    }

    /// The guard of many sends, in one atomic step: decides about each in their order.
    pub async fn admit_many(&self, request: &AdmitMany) -> Result<AdmitManyAnswer, StoreError> {
        request.check_size()?;
        let _timer = Timer::start("admit_many", None);
        let answer = match self {
            Self::Redis(_) => self.call(Operation::AdmitMany, request).await,
            Self::Sqlite(store) => store.admit_many(request).await,
        };
        self.record(&answer, |_| false);
        answer
    }

    /// Takes back what an admission counted: its publish surely failed.
    pub async fn withdraw(&self, message: MessageId) -> Result<(), StoreError> {
        self.call(Operation::Withdraw, &Messages::one(message)).await
    }

    /// Marks messages whose publish was confirmed. Best effort: where the mark is lost, a repeated request
    /// publishes the same message id again and the claim drops the copy.
    pub async fn confirm(&self, messages: &[MessageId]) -> Result<(), StoreError> {
        self.call(Operation::Confirm, &Messages::many(messages)).await
    }

    /// Marks a message whose confirm never came, so that a repeated request publishes it again at once.
    pub async fn doubt(&self, message: MessageId) -> Result<(), StoreError> {
        self.call(Operation::Doubt, &Messages::one(message)).await
    }

    /// What a check compares with. `None`: nothing was sent, or it is forgotten.
    pub async fn read(&self, request: &Read) -> Result<Option<Live>, StoreError> {
        let _timer = Timer::start("read", None);
        self.call(Operation::Read, request).await
    }

    /// The guard of a check, and its verdict: approves, or counts the failure.
    pub async fn settle(&self, request: &Settle) -> Result<SettleAnswer, StoreError> {
        let _timer = Timer::start("settle", None);
        let answer = self.call(Operation::Settle, request).await;
        self.record(&answer, |_| false);
        answer
    }

    pub async fn verification(
        &self,
        id: VerificationId,
        now: Option<i64>,
    ) -> Result<Option<VerificationState>, StoreError> {
        self.call(Operation::Verification, &VerificationRead { id, now }).await
    }

    /// A message on its way, until its row is written (and a while longer).
    pub async fn message(&self, id: MessageId) -> Result<Option<MessageState>, StoreError> {
        self.call(Operation::Message, &Messages::one(id)).await
    }

    /// Takes a job to work on: see [`ClaimAnswer`].
    pub async fn claim(&self, request: &Claim) -> Result<ClaimAnswer, StoreError> {
        let lane = if request.verification.is_some() { Lane::Code } else { Lane::Notice };
        let _timer = Timer::start("claim", Some(lane));
        let real = request.now.is_none();
        let asked = self.call_of(lane, Operation::Claim, request);
        let answer = self.timed(asked, |answer: &ClaimAnswer| real.then_some(answer.now)).await;
        self.record(&answer, |answer| answer.claim == Claimed::Granted);
        answer
    }

    /// Writes what came of an attempt. The first one written stands.
    pub async fn resolve(&self, request: &Resolve) -> Result<ResolveAnswer, StoreError> {
        let _timer = Timer::start("resolve", Some(request.lane));
        let answer = self.call_of(request.lane, Operation::Resolve, request).await;
        self.record(&answer, |answer| matches!(answer, ResolveAnswer::Written { .. }));
        answer
    }

    /// Shrinks what is kept of messages whose rows are committed to what drops late copies.
    pub async fn archive(&self, messages: &[MessageId]) -> Result<(), StoreError> {
        let at_once = match self {
            Self::Redis(_) => redis::ARCHIVED_AT_ONCE,
            // A step would wait for a commit, and hold up nobody.
            Self::Sqlite(_) => usize::MAX,
        };
        let steps = stream::iter(messages.chunks(at_once)).map(Ok);
        let step = async |some| self.call::<_, ()>(Operation::Archive, &Messages::many(some)).await;
        steps.try_for_each_concurrent(ARCHIVES_UNDER_WAY, step).await
    }

    /// The version of an account that requests are checked against; `None` where the store has none.
    pub async fn account_version(&self, account_id: i64) -> Result<Option<i64>, StoreError> {
        self.call(Operation::AccountVersion, &AccountVersion { account_id, version: None }).await
    }

    /// Sets the version of an account, unless a newer one is there.
    pub async fn set_account_version(
        &self,
        account_id: i64,
        version: i64,
    ) -> Result<(), StoreError> {
        let request = AccountVersion { account_id, version: Some(version) };
        self.call::<_, Option<i64>>(Operation::AccountVersion, &request).await.map(drop)
    }

    /// Adds or replaces bans.
    pub async fn ban(&self, bans: &[Ban]) -> Result<(), StoreError> {
        self.call(Operation::Ban, &Bans { add: bans.to_vec(), remove: Vec::new() }).await
    }

    pub async fn unban(&self, subjects: &[BanSubject]) -> Result<(), StoreError> {
        self.call(Operation::Ban, &Bans { add: Vec::new(), remove: subjects.to_vec() }).await
    }

    /// Forgets bans that ended, in steps that hold up nobody.
    pub async fn sweep_bans(&self, now: Option<i64>) -> Result<(), StoreError> {
        let mut cursor = "0".to_owned();
        loop {
            cursor = self.call(Operation::SweepBans, &SweepBans { cursor, now }).await?;
            if cursor == "0" {
                return Ok(());
            }
        }
    }

    /// Forgets what nobody asks for any more, every minute, for as long as this future is polled. Redis's own expiry
    /// does it for all but bans.
    pub async fn purge(&self) {
        let mut minutes = tokio::time::interval(PURGE_EVERY);
        loop {
            minutes.tick().await;
            if let Self::Sqlite(store) = self
                && let Err(error) = store.purge().await
            {
                tracing::warn!(%error, "the store could not be purged");
            }
            match self.sweep_bans(None).await {
                // Whoever meets the loss gives it its bans back.
                Ok(()) | Err(StoreError::Lost) => {}
                Err(error) => tracing::warn!(%error, "bans that ended could not be swept"),
            }
        }
    }

    /// Watches how Redis is set up, for as long as this future is polled: [`Store::check_writes`] fails where it evicts keys
    /// (unless that is allowed) or is no primary.
    pub async fn watch_server(&self, allow_eviction: bool) {
        if let Self::Redis(store) = self {
            store.watch_server(allow_eviction).await;
        }
    }

    /// The current epoch; [`StoreError::Lost`] where the store has none.
    pub async fn epoch(&self) -> Result<String, StoreError> {
        let nothing = serde_json::Map::new();
        let asked = self.call(Operation::Epoch, &nothing);
        let EpochAnswer { epoch, .. } =
            self.timed(asked, |answer: &EpochAnswer| Some(answer.now)).await?;
        Ok(epoch)
    }

    /// The store's clock as answers have told it.
    #[must_use]
    pub fn clock(&self) -> &StoreClock {
        match self {
            Self::Redis(store) => &store.clock,
            Self::Sqlite(store) => &store.clock,
        }
    }

    /// Gives a store that lost its data a new epoch together with these bans. Does nothing where an
    /// epoch is there by now.
    pub async fn restore(&self, bans: Vec<Ban>) -> Result<(), StoreError> {
        let epoch = uuid::Uuid::now_v7().to_string();
        self.call(Operation::Restore, &Restore { epoch, bans }).await
    }

    /// How many messages of a lane were accepted and ended in the last minute.
    pub async fn lane_counts(&self, lane: Lane) -> Result<LaneCounts, StoreError> {
        self.call(Operation::LaneCounts, &LaneRead { lane, ready: 0, now: None }).await
    }

    /// The age of the oldest of `ready` waiting jobs: the time back over which the counts of accepted
    /// messages add up to `ready`, to 10 s. At most the counts' life of 25 h.
    pub async fn oldest_age(&self, lane: Lane, ready: u64) -> Result<Duration, StoreError> {
        if ready == 0 {
            return Ok(Duration::ZERO);
        }
        let age: u64 =
            self.call(Operation::OldestAge, &LaneRead { lane, ready, now: None }).await?;
        Ok(Duration::from_millis(age))
    }

    /// How limits and bans stand, counting nothing.
    pub async fn explain(&self, request: &Explain) -> Result<Explained, StoreError> {
        let real = request.now.is_none();
        let asked = self.call(Operation::Explain, request);
        self.timed(asked, |answer: &Explained| real.then_some(answer.now)).await
    }

    /// Counts one entry in each limit, all or nothing: for what must be counted before it is looked at.
    pub async fn take(&self, request: &Take) -> Result<TakeAnswer, StoreError> {
        let real = request.now.is_none();
        let time = |answer: &TakeAnswer| match answer {
            TakeAnswer::Taken { at, .. } if real => Some(*at),
            _ => None,
        };
        self.timed(self.call(Operation::Take, request), time).await
    }

    /// Takes back what [`Store::take`] counted.
    pub async fn give_back(&self, request: &GiveBack) -> Result<(), StoreError> {
        self.call(Operation::GiveBack, request).await
    }

    /// Keeps what a sandbox provider was handed, for a day, the newest 1,000 an account.
    pub async fn sandbox_put(&self, request: &SandboxPut) -> Result<(), StoreError> {
        self.call(Operation::SandboxPut, request).await
    }

    /// An account's sandbox messages, newest first.
    pub async fn sandbox_list(&self, account_id: i64) -> Result<Vec<SandboxMessage>, StoreError> {
        self.call(Operation::SandboxList, &SandboxList { account_id, now: None }).await
    }

    /// Whether a message could be decided about now: the store has its data and takes writes. Known from real calls or
    /// a probe of the last second.
    pub async fn check_writes(&self) -> Result<(), StoreError> {
        match self {
            Self::Redis(store) => {
                store.health.check(self.probe(), redis::too_late).await?;
                store.check_server()
            }
            Self::Sqlite(store) => {
                store.check_writes().await?;
                self.epoch().await.map(drop)
            }
        }
    }

    async fn probe(&self) -> Result<(), StoreError> {
        let nothing = serde_json::Map::new();
        let asked = self.call(Operation::Probe, &nothing);
        self.timed(asked, |now: &i64| Some(*now)).await.map(drop)
    }

    /// Learns the store's time from an answer that carries it.
    async fn timed<A>(
        &self,
        asked: impl Future<Output = Result<A, StoreError>>,
        time: impl FnOnce(&A) -> Option<i64>,
    ) -> Result<A, StoreError> {
        let asked_at = AskedAt::now();
        let answer = asked.await?;
        if let Some(now) = time(&answer) {
            self.clock().observe(asked_at, now);
        }
        Ok(answer)
    }

    /// Lets an answer speak for the store's health: a failure, or an answer that surely came with a write.
    fn record<A>(&self, answer: &Result<A, StoreError>, wrote: impl FnOnce(&A) -> bool) {
        // Embedded, the writer knows by itself.
        let Self::Redis(store) = self else { return };
        match answer {
            Ok(answer) if wrote(answer) => store.health.record(Ok(())),
            Ok(_) => {}
            Err(error) => store.health.record(Err(error.clone())),
        }
    }

    async fn call<Q, A>(&self, operation: Operation, request: &Q) -> Result<A, StoreError>
    where
        Q: Serialize + ?Sized + Sync,
        A: DeserializeOwned,
    {
        self.call_of(Lane::Code, operation, request).await
    }

    /// As [`Store::call`], for a message of this lane: a backlog of notices doesn't hold up codes.
    async fn call_of<Q, A>(
        &self,
        lane: Lane,
        operation: Operation,
        request: &Q,
    ) -> Result<A, StoreError>
    where
        Q: Serialize + ?Sized + Sync,
        A: DeserializeOwned,
    {
        match self {
            Self::Redis(store) => {
                wire::decode(&store.call(operation, lane, wire::encode(request)?).await?)
            }
            Self::Sqlite(store) => {
                let broken = |error: serde_json::Error| StoreError::Broken(error.to_string());
                let request = serde_json::to_string(request).map_err(broken)?;
                read_answer(&store.call(operation, &request).await?)
            }
        }
    }
}

/// Measures for how long a message, or a check, waits for the store: from its start until it is dropped.
#[derive(Debug)]
pub(crate) struct Timer {
    operation: &'static str,
    lane: Option<Lane>,
    began: Instant,
}

impl Timer {
    /// Of a message its lane: Redis works on either in turns of its own.
    pub(crate) fn start(operation: &'static str, lane: Option<Lane>) -> Self {
        Self { operation, lane, began: Instant::now() }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        let lane = self.lane.map_or("", Lane::as_str);
        metrics::histogram!("sms_store_duration_seconds", "operation" => self.operation, "lane" => lane)
            .record(self.began.elapsed().as_secs_f64());
    }
}

/// Reads what `SQLite` answered.
pub(crate) fn read_answer<A: DeserializeOwned>(answer: &str) -> Result<A, StoreError> {
    match serde_json::from_str(answer) {
        Ok(Envelope::Lost { .. }) => Err(StoreError::Lost),
        Ok(Envelope::Ok { ok }) => Ok(ok),
        Err(error) => Err(StoreError::Broken(error.to_string())),
    }
}

/// What the latest verification of a phone is found by.
#[must_use]
pub fn verification_subject(owner: Owner, purpose: &str, phone: &PhoneNumber) -> String {
    format!("code:{owner}:{purpose}:{}", phone.as_e164())
}

/// An account's checks of a phone, as a ban names them: `7/+8613800138000`.
#[must_use]
pub fn account_phone(account_id: i64, phone: &PhoneNumber) -> String {
    format!("{account_id}/{}", phone.as_e164())
}

/// The purpose and the phone of what [`verification_subject`] made.
#[must_use]
pub fn purpose_and_phone(subject: &str) -> Option<(&str, PhoneNumber)> {
    let (_, rest) = subject.strip_prefix("code:")?.split_once(':')?;
    // A purpose may have colons, a number has none.
    let (purpose, phone) = rest.rsplit_once(':')?;
    Some((purpose, PhoneNumber::from_e164(phone).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_tells_its_purpose_and_phone() {
        let phone = PhoneNumber::from_e164("+8613800138000").unwrap();
        for purpose in ["login", "", "flask/a:b", "mall/注册"] {
            for test in [false, true] {
                let subject = verification_subject(Owner::new(7, test), purpose, &phone);
                assert_eq!(purpose_and_phone(&subject), Some((purpose, phone.clone())));
            }
        }
        assert_eq!(purpose_and_phone("notice:7:login:+8613800138000"), None);
    }
}
