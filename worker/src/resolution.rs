//! What is written of an attempt before anything else is done: enough for any worker to finish it.

use postrider_common::database::dead_letter::{DeadReason, NewDeadLetter};
use postrider_common::database::sms_log::{Record, Row, RowStatus};
use postrider_common::model::code::Code;
use postrider_common::model::job::{Attempt, Contents, Job};
use postrider_common::secrets::{KeyRing, SealedFor};
use postrider_common::store::MessageStatus;
use serde::{Deserialize, Serialize};

use crate::decision::Decision;

/// The result of an attempt. It holds no phone number and no code.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Resolution {
    /// `None` where the message ended without being tried.
    pub attempt: Option<Attempt>,
    /// The provider's last answer, cut and blotted.
    pub response: Option<String>,
    pub decision: Decision,
    /// When it was decided: store's clock, unix milliseconds.
    pub at: i64,
}

impl Resolution {
    /// The job with this attempt among its own.
    #[must_use]
    pub(crate) fn tried_job(&self, job: &Job) -> Job {
        let mut job = job.clone();
        if let Some(attempt) = &self.attempt {
            job.add_attempt(attempt.clone());
        }
        job
    }

    /// The message's state from now on.
    #[must_use]
    pub(crate) fn message_status(&self) -> MessageStatus {
        match &self.decision {
            Decision::Done => MessageStatus::Sent,
            Decision::Retry { .. } | Decision::Snooze { .. } => MessageStatus::Retrying,
            Decision::Fail { status: RowStatus::Unknown, .. } => MessageStatus::Unknown,
            Decision::Fail { error_code, .. } => match error_code.as_str() {
                "expired" => MessageStatus::Expired,
                "superseded" => MessageStatus::Superseded,
                "poison" => MessageStatus::Poison,
                _ => MessageStatus::Failed,
            },
        }
    }

    /// Whether the phone's windows are given back: it ended unsent, and no answer was lost.
    #[must_use]
    pub(crate) fn refunds(&self, job: &Job) -> bool {
        let lost = self.tried_job(job).has_unknown();
        matches!(self.decision, Decision::Fail { status: RowStatus::Failed, .. }) && !lost
    }

    /// The job of the next attempt and its delay in milliseconds; `None` where the message ended.
    #[must_use]
    pub(crate) fn next_job(&self, job: &Job) -> Option<(Job, u64)> {
        let (delay_ms, tried, free) = match &self.decision {
            Decision::Retry { delay_ms, tried } => (*delay_ms, tried, 0),
            Decision::Snooze { delay_ms, tried } => (*delay_ms, tried, 1),
            Decision::Done | Decision::Fail { .. } => return None,
        };
        let next = Job {
            attempt: job.attempt + 1,
            snoozed: job.snoozed + free,
            tried: tried.clone(),
            ..self.tried_job(job)
        };
        Some((next, delay_ms))
    }

    /// What is written down of a message that ended. `code` where it is to be kept.
    #[must_use]
    pub(crate) fn record(
        &self,
        job: &Job,
        contents: Option<&Contents>,
        code: Option<&Code>,
        keys: &KeyRing,
        approved_at: Option<i64>,
    ) -> Record {
        let tried = self.tried_job(job);
        let last = tried.attempts.last();
        let (status, error_code, dead) = match &self.decision {
            Decision::Fail { status, error_code, dead } => {
                (*status, Some(error_code.clone()), *dead)
            }
            _ => (RowStatus::Sent, None, None),
        };
        let row = Row {
            id: job.message_id,
            account_id: job.account_id,
            verification_id: job.verification.as_ref().map(|v| v.id),
            key_id: job.key_id.to_string(),
            lane: job.lane,
            phone_number: contents.map(|c| c.phone.as_e164().to_owned()).unwrap_or_default(),
            code: code.map(|code| {
                keys.seal(SealedFor::Log, code.expose().as_bytes(), job.message_id.as_bytes())
            }),
            purpose: (!job.purpose.is_empty()).then(|| job.purpose.clone()),
            template_code: job.template.clone(),
            client_ip: contents.and_then(|c| c.client_ip).map(|ip| ip.to_string()),
            provider: last.map(|attempt| attempt.provider.clone()),
            provider_message_id: last.and_then(|attempt| attempt.provider_message_id.clone()),
            provider_message_hash: last.and_then(|attempt| attempt.provider_message_hash.clone()),
            attempts: tried.attempts_made(),
            status,
            error_code,
            error_message: last
                .filter(|_| status != RowStatus::Sent)
                .and_then(|a| a.error_message.clone()),
            response: self.response.clone(),
            create_time: job.accepted_at,
            update_time: self.at,
            verify_time: approved_at,
            test: job.test,
            deadline: job.deadline,
        };
        // A row without its phone wants a look, however its message ended.
        let dead = dead.or_else(|| contents.is_none().then_some(DeadReason::KeyMissing));
        let dead_letter = dead.map(|reason| self.dead_letter(job, reason, keys));
        Record { row: Some(row), attempts: tried.attempts, dead_letter }
    }

    fn dead_letter(&self, job: &Job, reason: DeadReason, keys: &KeyRing) -> NewDeadLetter {
        let id = format!("{}.{}", job.message_id, job.generation);
        let attempts = self.tried_job(job).attempts;
        let detail = attempts.last().and_then(|attempt| attempt.error_message.clone());
        NewDeadLetter {
            message_id: Some(job.message_id),
            lane: Some(job.lane),
            reason,
            detail: detail.unwrap_or_default(),
            attempts,
            job: keys.seal(SealedFor::Log, &job.encode(), id.as_bytes()),
            id,
            create_time: self.at,
        }
    }
}

#[cfg(test)]
mod tests {
    use postrider_common::model::job::{Lane, Outcome, TriedProvider};

    use super::*;
    use crate::testing::{attempt, job};

    fn resolved(decision: Decision, outcome: Outcome) -> Resolution {
        Resolution { attempt: Some(attempt(2, "b", outcome)), response: None, decision, at: 5 }
    }

    #[test]
    fn the_next_job_remembers_its_attempts() {
        let first = job(Lane::Code, &[Outcome::Later]);
        let tried = vec![TriedProvider { provider: "b".to_owned(), again_at: 0 }];
        let retry = Decision::Retry { delay_ms: 2000, tried: Vec::new() };
        let (next, delay) = resolved(retry, Outcome::Later).next_job(&first).unwrap();
        assert_eq!((next.attempt, next.snoozed, next.attempts.len(), delay), (3, 0, 2, 2000));
        let snooze = Decision::Snooze { delay_ms: 0, tried: tried.clone() };
        let (free, _) = resolved(snooze, Outcome::TooFast).next_job(&first).unwrap();
        assert_eq!((free.attempt, free.snoozed, free.tried), (3, 1, tried));
        assert!(resolved(Decision::Done, Outcome::Accepted).next_job(&first).is_none());
    }

    #[test]
    fn a_result_that_an_older_worker_wrote_is_read() {
        let written = r#"{"attempt":null,"response":null,"decision":{"kind":"snooze","delay_ms":1000},"at":5}"#;
        let resolution: Resolution = serde_json::from_str(written).unwrap();
        assert_eq!(resolution.decision, Decision::Snooze { delay_ms: 1000, tried: Vec::new() });
    }

    #[test]
    fn a_row_counts_the_attempts_that_no_longer_travel() {
        let tried = job(Lane::Code, &[Outcome::TooFast; 30]);
        let mut last = resolved(Decision::Done, Outcome::Accepted);
        last.attempt.as_mut().unwrap().number = 31;
        let keys = "a-secret-of-the-tests-of-more-than-32-bytes".parse().unwrap();
        let record = last.record(&tried, None, None, &keys, None);
        let numbers: Vec<_> = record.attempts.iter().map(|attempt| attempt.number).collect();
        assert_eq!(numbers, (12..=31).collect::<Vec<_>>());
        assert_eq!(record.row.unwrap().attempts, 31);
        let dead = record.dead_letter.unwrap();
        assert_eq!(dead.reason, DeadReason::KeyMissing, "the contents weren't there");
    }

    #[test]
    fn windows_are_given_back_only_where_nothing_was_carried() {
        let failed =
            |status| Decision::Fail { status, error_code: "expired".to_owned(), dead: None };
        let (plain, lost) =
            (job(Lane::Code, &[Outcome::Later]), job(Lane::Code, &[Outcome::Unknown]));
        assert!(resolved(failed(RowStatus::Failed), Outcome::Later).refunds(&plain));
        assert!(!resolved(failed(RowStatus::Failed), Outcome::Later).refunds(&lost));
        assert!(!resolved(failed(RowStatus::Unknown), Outcome::Unknown).refunds(&plain));
        assert!(!resolved(Decision::Done, Outcome::Accepted).refunds(&plain));
    }
}
