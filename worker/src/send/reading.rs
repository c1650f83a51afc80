//! What a delivery turns out to be: a job to do, one to put off, or poison.

use super::{
    AtomicBool, Contents, Duration, Job, KEY_MISSING, Lane, OpenError, Ordering, Receipt, Sender,
    Task, hop,
};

/// A delivery that is no job to work on now.
pub(super) enum Other {
    /// Not its turn yet, or another worker's to do: it waits so long. With its trace.
    Later(Box<Job>, Duration, Option<String>),
    /// Its sealed part is broken.
    Broken(Box<Job>),
    Undecodable(String),
}

impl Sender {
    pub(super) fn read(
        &self,
        body: &[u8],
        redelivered: bool,
        trace: Option<String>,
    ) -> Result<Box<Task>, Other> {
        let job = match Job::decode(body) {
            Ok(job) => job,
            Err(error) => return Err(Other::Undecodable(error.to_string())),
        };
        if job.wait_ms > 0 {
            let wait = Duration::from_millis(job.wait_ms);
            return Err(Other::Later(Box::new(job), wait, trace));
        }
        let contents = match self.open(&job) {
            Ok(contents) => contents,
            Err(OpenError::UnknownKey(key)) => {
                self.key_missing.store(true, Ordering::Relaxed);
                tracing::error!(message.id = %job.message_id, key.id = %key, "a job's key is not among POSTRIDER_SECRET");
                return Err(Other::Later(Box::new(job), KEY_MISSING, trace));
            }
            Err(OpenError::Broken) => return Err(Other::Broken(Box::new(job))),
        };
        let owner = format!("{:032x}", rand::random::<u128>());
        let called = AtomicBool::new(false);
        Ok(Box::new(Task { job, contents, redelivered, trace, owner, called }))
    }

    /// Does with it what is left to do.
    pub(super) async fn pass_on(&self, other: Other, body: &[u8], lane: Lane, receipt: Receipt) {
        match other {
            Other::Later(job, delay, trace) => {
                let (rung, rest) = hop(delay);
                self.forward(*job, rung, rest, trace, receipt).await;
            }
            Other::Broken(job) => self.broken(&job, receipt).await,
            Other::Undecodable(why) => self.undecodable(body, lane, &why, receipt).await,
        }
    }

    fn open(&self, job: &Job) -> Result<Contents, OpenError> {
        if self.keys.get(&job.key_id).is_none() {
            return Err(OpenError::UnknownKey(job.key_id.clone()));
        }
        Contents::open(&self.keys, job.message_id, &job.sealed)
    }
}
