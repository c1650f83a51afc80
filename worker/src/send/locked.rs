//! A job under a secret that this process lacks: another worker may have it, until the deadline.

use super::{
    Attempt, Claim, Claimed, Clock, DeadReason, Decision, Duration, Ending, Job, KEY_MISSING,
    Locked, Receipt, Resolution, Sender, end, hop, lost, new_owner, resolved, wall_clock,
};

impl Sender {
    /// Puts the job off while it could still be sent by a worker that has its key; then ends it.
    pub(super) async fn locked(&self, locked: Locked, receipt: Receipt) {
        let now = self.store.clock().now().unwrap_or_else(wall_clock);
        let left = millis_of(locked.job.deadline.saturating_sub(now));
        if !left.is_zero() {
            self.key_missing.observe_job(&locked.key, left);
            return self.put_off(locked, left, receipt).await;
        }
        // Carried on since the store's last answer, a clock says when to ask; the store decides.
        let owner = new_owner();
        let request = self.claim_request(&locked.job, owner, locked.redelivered, None, None);
        let (claim, clock) = self.claim(&Claim { max_claims: u32::MAX, ..request }).await;
        let left = millis_of(locked.job.deadline.saturating_sub(clock.now()));
        let ending = match claim {
            Claimed::Busy { .. } => return self.put_off(locked, KEY_MISSING, receipt).await,
            Claimed::Stale => Ending::Drop,
            Claimed::Resolved { resolution } => resolved(&resolution),
            Claimed::Interrupted { called_at, provider } => {
                let attempt = lost(&locked.job, provider, called_at, clock.now(), "interrupted");
                self.end_locked(&locked.job, Some(attempt), clock).await
            }
            Claimed::Unsure if self.has_row(&locked.job).await => Ending::Drop,
            Claimed::Unsure => {
                let provider = self.next_provider(&locked.job);
                let attempt = lost(&locked.job, provider, clock.now(), clock.now(), "interrupted");
                self.end_locked(&locked.job, Some(attempt), clock).await
            }
            Claimed::Granted | Claimed::Expired | Claimed::Superseded | Claimed::Poison => {
                if !left.is_zero() {
                    return self.put_off(locked, left, receipt).await;
                }
                self.end_locked(&locked.job, None, clock).await
            }
        };
        self.finish(&locked.job, None, locked.trace, ending, receipt).await;
    }

    async fn put_off(&self, locked: Locked, left: Duration, receipt: Receipt) {
        let (rung, rest) = hop(left.min(KEY_MISSING));
        self.forward(*locked.job, rung, rest, locked.trace, receipt).await;
    }

    async fn end_locked(&self, job: &Job, attempt: Option<Attempt>, clock: Clock) -> Ending {
        let at = clock.now();
        let mut resolution = Resolution { attempt, response: None, decision: Decision::Done, at };
        let tried = resolution.tried_job(job);
        resolution.decision = end(&tried, "key_missing", Some(DeadReason::KeyMissing));
        self.resolve(job, resolution).await
    }
}

fn millis_of(left: i64) -> Duration {
    Duration::from_millis(u64::try_from(left).unwrap_or(0))
}
