//! One job, from its delivery to its end or its next attempt.

mod asking;
mod composing;
mod ending;
mod locked;
mod reading;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable as _};
use futures::FutureExt as _;
use postrider_common::config::{Retry, Settings, Template};
use postrider_common::database::Database;
use postrider_common::database::dead_letter::DeadReason;
use postrider_common::database::sms_log::Record;
use postrider_common::model::code::Code;
use postrider_common::model::job::{AnswerScope, Attempt, Contents, Job, Lane, Outcome};
use postrider_common::model::phone::PhoneNumber;
use postrider_common::model::template;
use postrider_common::queue::{Delivery, Destination, Outgoing, Published, Queue, Receipt, Rung};
use postrider_common::restore_bans;
use postrider_common::secrets::{KeyId, KeyRing, OpenError};
use postrider_common::store::{
    Call, Claim, ClaimAnswer, ClaimVerification, Claimed, Resolve, ResolveAnswer, Store,
    StoreError, verification_subject,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep};

use self::composing::code;
use self::reading::Locked;
use crate::acks::Acks;
use crate::decision::{Decision, Situation, decide, end, next_provider};
use crate::delay::hop;
use crate::missing_keys::MissingKeys;
use crate::provider::{Answer, Lineup, NamedProvider, Providers, Sms};
use crate::provider_state::ProviderStates;
use crate::recorder::{Recorder, dead_bytes};
use crate::resolution::Resolution;

/// What a lease has beyond the longest call of a provider.
const LEASE_MARGIN: Duration = Duration::from_secs(5);
/// How long a claim outlives its job's deadline.
const CLAIM_OUTLIVES: Duration = Duration::from_hours(1);
/// Claims without reaching a provider that make a job poison.
const MAX_CLAIMS: u32 = 5;
/// How long a job waits whose key this process lacks, for one that has it.
const KEY_MISSING: Duration = Duration::from_secs(8);
/// Between tries at a store or queue that doesn't answer.
const PAUSE: Duration = Duration::from_millis(200);
/// How soon somebody else's claim is looked at again.
const BUSY: Duration = Duration::from_millis(500);
/// What stands in the place of a secret.
const BLOT: &str = "******";
/// Parameters shorter than that, in bytes, tell nothing, and are part of other words.
const TELLING: usize = 4;
/// Of a provider's answer so much is kept.
const RESPONSE: usize = 1024;
/// Longest id of a provider that is kept as it came, in bytes: the width of its columns.
const MAX_PROVIDER_MESSAGE_ID_BYTES: usize = 128;

/// What every job of a worker works with.
#[derive(Debug)]
pub(crate) struct Sender {
    pub(crate) store: Store,
    pub(crate) queue: Queue,
    pub(crate) database: Database,
    pub(crate) keys: KeyRing,
    pub(crate) settings: Settings,
    pub(crate) providers: Providers,
    pub(crate) provider_states: Arc<ProviderStates>,
    pub(crate) recorder: Recorder,
    pub(crate) acks: Acks,
    pub(crate) key_missing: Arc<MissingKeys>,
}

/// Places at the providers: of those deliveries that have one the calls are made.
pub(crate) type Slots = Arc<Semaphore>;
/// `None` once the slots are closed, which nobody does.
pub(crate) type Slot = Option<OwnedSemaphorePermit>;

/// A job as its delivery brought it.
#[derive(Debug)]
struct Task {
    job: Job,
    contents: Contents,
    redelivered: bool,
    trace: Option<String>,
    /// Tells this delivery from every other.
    owner: String,
    /// Whether a provider was called, or about to be.
    called: AtomicBool,
}

/// A call that only wants its claim.
struct Ready<'a> {
    provider: &'a NamedProvider,
    sms: Sms,
    /// From then on connecting could end after the job's deadline.
    begin_by: i64,
}

/// What an answer says about the next attempt.
#[derive(Debug, Clone, Copy, Default)]
struct Hints {
    retry_after: Option<Duration>,
    try_next_now: bool,
}

/// What a handler leaves to be done.
enum Ending {
    /// The attempt is over: write its row or publish its next.
    Resolved(Box<Resolution>, Option<i64>),
    /// A late copy: nothing is left to do.
    Drop,
}

impl Sender {
    /// Handles one delivery, whose turn it is. Whatever happens, the delivery is acked only once its message is safe
    /// elsewhere.
    pub(crate) async fn handle(&self, delivery: Delivery, lane: Lane, slots: &Slots, slot: Slot) {
        let Delivery { body, redelivered, trace, receipt, .. } = delivery;
        let task = match self.read(&body, redelivered, trace) {
            Ok(task) => task,
            Err(other) => {
                // No provider is called.
                drop(slot);
                return Box::pin(self.pass_on(other, &body, lane, receipt)).await;
            }
        };
        drop(body);
        let worked = AssertUnwindSafe(self.work(&task, slots, slot)).catch_unwind().await;
        let ending = match worked {
            Ok(ending) => ending,
            Err(_panic) => Box::pin(self.panicked(&task)).await,
        };
        let Task { job, contents, trace, .. } = *task;
        self.finish(&job, Some(&contents), trace, ending, receipt).await;
    }

    /// Claims the job and does what the claim says, until the attempt is over.
    async fn work(&self, task: &Task, slots: &Slots, mut slot: Slot) -> Ending {
        let lineup = self.providers.of(&task.job);
        // What may fail is done before the claim, which says that the provider is being called.
        let ready = self.ready(task, lineup);
        loop {
            let (claim, clock) = self.claim(&self.claim_of(task, ready.as_ref().ok())).await;
            return match claim {
                Claimed::Granted => match &ready {
                    Ok(ready) => self.attempt(task, ready, clock, slot).await,
                    Err(_) if clock.now() >= task.job.deadline => self.expired(task, clock).await,
                    Err(word) => self.unsendable(task, word, clock).await,
                },
                Claimed::Expired => self.expired(task, clock).await,
                Claimed::Busy { wait_ms } => {
                    // Waited for in the prefetch slot alone.
                    drop(slot);
                    sleep(BUSY.min(Duration::from_millis(wait_ms.max(1).unsigned_abs()))).await;
                    slot = slots.clone().acquire_owned().await.ok();
                    continue;
                }
                Claimed::Superseded => self.end(task, "superseded", None, clock).await,
                Claimed::Poison => {
                    self.end(task, "poison", Some(DeadReason::NeverReached), clock).await
                }
                Claimed::Interrupted { called_at, provider } => {
                    Box::pin(self.interrupted(task, called_at, provider, clock)).await
                }
                Claimed::Unsure => Box::pin(self.unsure(task, clock)).await,
                Claimed::Resolved { resolution } => resolved(&resolution),
                Claimed::Stale => Ending::Drop,
            };
        }
    }

    /// The provider whose turn it is and what it gets, or the word of why there is nothing to call or to send.
    fn ready<'a>(&self, task: &Task, lineup: &'a Lineup) -> Result<Ready<'a>, &'static str> {
        let name = next_provider(&task.job, lineup.names());
        let provider = name.and_then(|name| lineup.find(name)).ok_or("no_provider")?;
        let begin_by = task.job.deadline - millis(provider.reach);
        Ok(Ready { provider, sms: self.sms(task)?, begin_by })
    }

    /// One attempt at one provider, under a claim that says so.
    async fn attempt(&self, task: &Task, ready: &Ready<'_>, clock: Clock, slot: Slot) -> Ending {
        // The store may have kept us waiting.
        if clock.now() >= ready.begin_by {
            return self.expired(task, clock).await;
        }
        task.called.store(true, Ordering::Relaxed);
        let at = clock.now();
        let answer = ready.provider.provider.send(&ready.sms, clock.instant(ready.begin_by)).await;
        drop(slot);
        // On the heap: while the provider takes its time, its place is small.
        Box::pin(self.answered(task, ready.provider, answer, at, clock)).await
    }

    /// There is nothing to call or to send.
    async fn unsendable(&self, task: &Task, word: &str, clock: Clock) -> Ending {
        if word == "template_unknown" {
            tracing::error!(
                message.id = %task.job.message_id,
                template.name = %task.job.template,
                "a message names a template that this worker doesn't know"
            );
        }
        self.end(task, word, Some(DeadReason::Refused), clock).await
    }

    async fn expired(&self, task: &Task, clock: Clock) -> Ending {
        self.end(task, "expired", None, clock).await
    }

    async fn answered(
        &self,
        task: &Task,
        provider: &NamedProvider,
        answer: Answer,
        at: i64,
        clock: Clock,
    ) -> Ending {
        let now = clock.now();
        let attempt = self.attempt_of(task, &provider.name, &answer, (at, now));
        measure(&attempt);
        self.provider_states.observe(&attempt);
        if attempt.error_code.as_deref() == Some("template_missing") {
            tracing::error!(
                message.id = %task.job.message_id,
                template.name = %task.job.template,
                provider.name = %attempt.provider,
                "a template has no code at a provider"
            );
        }
        let hints = Hints { retry_after: answer.retry_after, try_next_now: answer.try_next_now };
        let decision = self.decide(task, &attempt, hints, provider.retry.as_ref(), now);
        let response = answer.response.map(|text| kept(&text, task, &self.keys));
        let resolution = Resolution { attempt: Some(attempt), response, decision, at: now };
        self.resolve(&task.job, resolution).await
    }

    /// An answered attempt as it is kept: what is sealed in the job is in none of its texts.
    fn attempt_of(
        &self,
        task: &Task,
        provider: &str,
        answer: &Answer,
        (at, now): (i64, i64),
    ) -> Attempt {
        let redact = |text: &String| kept(text, task, &self.keys);
        let id = answer.provider_message_id.as_ref();
        let kept_id = id.map(redact).map(|mut id| {
            id.truncate(id.floor_char_boundary(MAX_PROVIDER_MESSAGE_ID_BYTES));
            id
        });
        let redacted = id.filter(|id| kept_id.as_ref() != Some(*id));
        Attempt {
            number: task.job.attempt,
            provider: provider.to_owned(),
            outcome: answer.outcome,
            scope: answer.scope,
            at,
            duration_ms: now - at,
            provider_message_hash: redacted.map(|id| self.keys.provider_message_hash(provider, id)),
            provider_message_id: kept_id,
            error_code: answer.error_code.as_ref().map(redact),
            error_message: answer.error_message.as_ref().map(redact),
        }
    }

    fn decide(
        &self,
        task: &Task,
        attempt: &Attempt,
        hints: Hints,
        retry: Option<&Retry>,
        now: i64,
    ) -> Decision {
        let retry = retry.unwrap_or(&self.settings.retry);
        let lineup = self.providers.of(&task.job);
        let chance = rand::random::<f64>();
        decide(&Situation {
            job: &task.job,
            attempt,
            retry_after: hints.retry_after,
            try_next_now: hints.try_next_now,
            providers: lineup.names(),
            begin_by: task.job.deadline - millis(lineup.reach()),
            retry,
            now,
            chance,
        })
    }

    /// The worker that called the provider died with the answer.
    async fn interrupted(&self, task: &Task, at: i64, provider: String, clock: Clock) -> Ending {
        let now = clock.now();
        let own = self.providers.of(&task.job).find(&provider).and_then(|p| p.retry.clone());
        let attempt = lost(&task.job, provider, at, now, "interrupted");
        let decision = self.decide(task, &attempt, Hints::default(), own.as_ref(), now);
        let resolution = Resolution { attempt: Some(attempt), response: None, decision, at: now };
        self.resolve(&task.job, resolution).await
    }

    /// The store lost its data since this job was accepted, and the job was handed out before.
    async fn unsure(&self, task: &Task, clock: Clock) -> Ending {
        if self.has_row(&task.job).await {
            return Ending::Drop;
        }
        let provider = self.next_provider(&task.job);
        self.interrupted(task, clock.now(), provider, clock).await
    }

    /// Whether the message's row is written, as the database says once it answers.
    async fn has_row(&self, job: &Job) -> bool {
        loop {
            match self.database.message(job.message_id).await {
                Ok(row) => return row.is_some(),
                Err(error) => {
                    tracing::debug!(%error, "a job waits for the database to say whether it was sent");
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// The name of the one whose turn it is.
    fn next_provider(&self, job: &Job) -> String {
        let names = self.providers.of(job).names();
        next_provider(job, names).unwrap_or_default().to_owned()
    }

    async fn panicked(&self, task: &Task) -> Ending {
        tracing::error!(message.id = %task.job.message_id, "the handler of a job panicked: it is poison");
        let (_, clock) = self.claim(&self.claim_of(task, None)).await;
        let mut ending = self.ending(task, "poison", Some(DeadReason::Panicked), clock);
        if task.called.load(Ordering::Relaxed) {
            let provider = self.next_provider(&task.job);
            ending.attempt = Some(lost(&task.job, provider, clock.now(), clock.now(), "panic"));
            let unknown = postrider_common::database::sms_log::RowStatus::Unknown;
            if let Decision::Fail { status, .. } = &mut ending.decision {
                *status = unknown;
            }
        }
        self.resolve(&task.job, ending).await
    }

    async fn end(
        &self,
        task: &Task,
        error_code: &str,
        dead: Option<DeadReason>,
        clock: Clock,
    ) -> Ending {
        let resolution = self.ending(task, error_code, dead, clock);
        self.resolve(&task.job, resolution).await
    }

    #[expect(clippy::unused_self, reason = "reads as its siblings do")]
    fn ending(
        &self,
        task: &Task,
        error_code: &str,
        dead: Option<DeadReason>,
        clock: Clock,
    ) -> Resolution {
        let decision = end(&task.job, error_code, dead);
        Resolution { attempt: None, response: None, decision, at: clock.now() }
    }
}

/// The store's clock, carried on by ours since it was asked for: it is never behind.
#[derive(Debug, Clone, Copy)]
struct Clock {
    now: i64,
    since: Instant,
}

impl Clock {
    fn now(self) -> i64 {
        self.now + millis(self.since.elapsed())
    }

    /// The same moment on our own clock; one that is over is where it began.
    fn instant(self, at: i64) -> Instant {
        self.since + Duration::from_millis(u64::try_from(at - self.now).unwrap_or_default())
    }
}

/// Tells a delivery from every other.
fn new_owner() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// What is left to be done of an attempt that somebody else resolved.
fn resolved(resolution: &str) -> Ending {
    // Empty once its row is committed; one that can't be read is of a version that this binary isn't.
    serde_json::from_str(resolution)
        .map_or(Ending::Drop, |resolution| Ending::Resolved(Box::new(resolution), None))
}

fn lost(job: &Job, provider: String, at: i64, now: i64, word: &str) -> Attempt {
    Attempt {
        number: job.attempt,
        provider,
        outcome: Outcome::Unknown,
        scope: AnswerScope::Message,
        at,
        duration_ms: (now - at).max(0),
        provider_message_id: None,
        provider_message_hash: None,
        error_code: Some(word.to_owned()),
        error_message: Some(
            "the worker ended before the provider's answer was written down".to_owned(),
        ),
    }
}

/// What of a provider's words is kept: the beginning, with what is sealed in the job blotted out.
fn kept(text: &str, task: &Task, keys: &KeyRing) -> String {
    let mut text = task.contents.phone.blot(text);
    if let Some(code) = code(&task.job, keys) {
        text = code.redact(&text, BLOT);
    }
    for value in task.contents.params.values().filter(|value| value.len() >= TELLING) {
        text = text.replace(value.as_str(), BLOT);
    }
    text[..text.floor_char_boundary(RESPONSE)].to_owned()
}

fn measure(attempt: &Attempt) {
    let provider = attempt.provider.clone();
    metrics::counter!("sms_attempts_total", "provider" => provider.clone(), "outcome" => attempt.outcome.as_str())
        .increment(1);
    let seconds = Duration::from_millis(attempt.duration_ms.unsigned_abs()).as_secs_f64();
    metrics::histogram!("sms_provider_duration_seconds", "provider" => provider).record(seconds);
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Where no store's clock is at hand, and nothing is compared with it.
pub(crate) fn wall_clock() -> i64 {
    #[expect(
        clippy::disallowed_methods,
        reason = "the time a dead letter is shown with; no deadline goes by it"
    )]
    let now = std::time::SystemTime::now();
    now.duration_since(std::time::UNIX_EPOCH).map_or(0, millis)
}
