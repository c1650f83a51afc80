//! What a delivery turns out to be: a job to do, one to put off, or poison.

use super::{
    AtomicBool, Contents, Duration, Job, KeyId, Lane, OpenError, Receipt, Sender, Task, hop,
    new_owner,
};

/// A delivery that is no job to work on now.
pub(super) enum Other {
    /// Not its turn yet: it waits so long. With its trace.
    Later(Box<Job>, Duration, Option<String>),
    Locked(Locked),
    /// Its sealed part is broken.
    Broken(Box<Job>),
    Undecodable(String),
}

/// A job whose key this process lacks.
pub(super) struct Locked {
    pub(super) job: Box<Job>,
    pub(super) key: KeyId,
    pub(super) redelivered: bool,
    pub(super) trace: Option<String>,
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
                return Err(Other::Locked(Locked { job: Box::new(job), key, redelivered, trace }));
            }
            Err(OpenError::Broken) => return Err(Other::Broken(Box::new(job))),
        };
        let owner = new_owner();
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
            Other::Locked(locked) => self.locked(locked, receipt).await,
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
