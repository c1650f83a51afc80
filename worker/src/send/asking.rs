//! What a job asks of the store, until it is answered: the delivery is held meanwhile.

use super::*;

impl Sender {
    /// The claim of a job whose contents are known. Where it is granted, `ready` is to be called at once.
    pub(super) fn claim_of(&self, task: &Task, ready: Option<&Ready<'_>>) -> Claim {
        let phone = Some(&task.contents.phone);
        self.claim_request(&task.job, task.owner.clone(), task.redelivered, phone, ready)
    }

    /// Without the phone the verification isn't looked at.
    pub(super) fn claim_request(
        &self,
        job: &Job,
        owner: String,
        redelivered: bool,
        phone: Option<&PhoneNumber>,
        ready: Option<&Ready<'_>>,
    ) -> Claim {
        let longest = self.providers.of(job).longest();
        Claim {
            now: None,
            message_id: job.message_id,
            generation: job.generation,
            attempt: job.attempt,
            owner,
            lease_ms: millis(longest + LEASE_MARGIN),
            keep_until: job.deadline + millis(CLAIM_OUTLIVES),
            epoch: job.epoch.clone(),
            redelivered,
            max_claims: MAX_CLAIMS,
            supersedable: !job.has_unknown(),
            verification: job.verification.as_ref().zip(phone).map(|(verification, phone)| {
                ClaimVerification {
                    subject: verification_subject(job.owner(), &job.purpose, phone),
                    account_id: job.owner().store_id(),
                    purpose: job.purpose.clone(),
                    key_id: job.key_id.clone(),
                    max_sends: verification.sends,
                    job: verification.clone(),
                }
            }),
            call: ready.map(|ready| Call {
                provider: ready.provider.name.clone(),
                begin_by: ready.begin_by,
            }),
        }
    }

    /// The state that the claim found, and the store's time then.
    pub(super) async fn claim(&self, request: &Claim) -> (Claimed, Clock) {
        let ask = || async {
            let since = Instant::now();
            let ClaimAnswer { now, claim } = self.store.claim(request).await?;
            Ok((claim, Clock { now, since }))
        };
        self.until_answered(ask).await
    }

    pub(super) async fn resolve(&self, job: &Job, resolution: Resolution) -> Ending {
        let request = Resolve {
            now: None,
            message_id: job.message_id,
            generation: job.generation,
            attempt: job.attempt,
            resolution: serde_json::to_string(&resolution).unwrap_or_default(),
            status: resolution.message_status(),
            attempts: resolution.tried_job(job).attempts,
            verification: job.verification.as_ref().map(|verification| verification.id),
            finished: resolution.next_job(job).is_none(),
            refund: resolution.refunds(job),
            lane: job.lane,
        };
        match self.until_answered(|| self.store.resolve(&request)).await {
            ResolveAnswer::Written { approved_at } => {
                Ending::Resolved(Box::new(resolution), approved_at)
            }
            ResolveAnswer::Already { resolution } => resolved(&resolution),
            ResolveAnswer::Stale => Ending::Drop,
        }
    }

    async fn until_answered<T, F>(&self, ask: impl Fn() -> F) -> T
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let ask = || async {
            let answer = ask().await;
            if matches!(answer, Err(StoreError::Lost))
                // On the heap, as all that is rare: every job has room for the rest.
                && let Err(error) = Box::pin(restore_bans::restore(&self.store, &self.database)).await
            {
                tracing::warn!(%error, "the store's bans could not be loaded");
            }
            answer
        };
        let patience = ExponentialBuilder::new()
            .with_min_delay(Duration::from_millis(50))
            .with_max_delay(Duration::from_secs(1))
            .with_jitter()
            .without_max_times();
        let notify = |error: &StoreError, _| tracing::debug!(%error, "a job is held until the store answers");
        loop {
            if let Ok(answer) = ask.retry(patience).notify(notify).await {
                return answer;
            }
        }
    }
}
