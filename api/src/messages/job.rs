//! Builds the job of a message that the guard admitted.

use std::sync::Arc;

use postrider_common::accept::MakeJob;
use postrider_common::model::job::{Contents, EarlierAttempts, Job, Lane, WIRE_NAME};
use postrider_common::model::owner::Owner;
use postrider_common::secrets::KeyRing;
use postrider_common::store::{About, Accepted};

/// What is known of a message before it is accepted.
#[derive(Debug, Clone)]
pub struct Draft {
    pub lane: Lane,
    pub owner: Owner,
    pub purpose: String,
    pub template: String,
    /// Whether the template is a provider's own code, and none of ours.
    pub raw_template: bool,
    pub contents: Contents,
}

impl Draft {
    /// What GET shows of it until its row exists.
    pub fn about(&self) -> About {
        About {
            phone: self.contents.phone.masked(),
            purpose: self.purpose.clone(),
            template: self.template.clone(),
            client_ip: self.contents.client_ip,
        }
    }

    /// The job gets its id, times, address and verification from what the guard says: for a repeated request these are
    /// the first one's.
    pub fn into_make_job(self, keys: KeyRing) -> MakeJob {
        Arc::new(move |accepted| self.job(&keys, accepted))
    }

    fn job(&self, keys: &KeyRing, accepted: &Accepted) -> Job {
        let verification = accepted.verification.as_ref();
        let contents = Contents { client_ip: accepted.client_ip, ..self.contents.clone() };
        Job {
            v: WIRE_NAME.to_owned(),
            message_id: accepted.message_id,
            account_id: self.owner.account_id(),
            test: self.owner.is_test(),
            lane: self.lane,
            purpose: self.purpose.clone(),
            template: self.template.clone(),
            raw_template: self.raw_template,
            key_id: verification.map_or_else(|| keys.current().id.clone(), |v| v.key_id.clone()),
            verification: verification.map(|v| v.job.clone()),
            accepted_at: accepted.accepted_at,
            deadline: accepted.deadline,
            epoch: accepted.epoch.clone(),
            generation: 0,
            attempt: 1,
            snoozed: 0,
            wait_ms: 0,
            tried: Vec::new(),
            attempts: Vec::new(),
            earlier: EarlierAttempts::default(),
            sealed: contents.seal(keys, accepted.message_id),
        }
    }
}
