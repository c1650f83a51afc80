//! What a delivery turns out to be: a job to do, one to put off, or poison.

use super::*;

pub(super) enum Read {
    Task(Box<Task>),
    /// Not its turn yet, or another worker's to do: it waits so long.
    Later(Job, Duration, Option<String>),
    /// Its sealed part is broken.
    Broken(Job),
    Undecodable(String),
}

impl Sender {
    pub(super) fn read(&self, body: &[u8], redelivered: bool, trace: Option<String>) -> Read {
        let job = match Job::decode(body) {
            Ok(job) => job,
            Err(error) => return Read::Undecodable(error.to_string()),
        };
        if job.wait_ms > 0 {
            let wait = Duration::from_millis(job.wait_ms);
            return Read::Later(job, wait, trace);
        }
        let contents = match self.open(&job) {
            Ok(contents) => contents,
            Err(OpenError::UnknownKey(key)) => {
                self.key_missing.store(true, Ordering::Relaxed);
                tracing::error!(message.id = %job.message_id, key.id = %key, "a job's key is not among POSTRIDER_SECRET");
                return Read::Later(job, KEY_MISSING, trace);
            }
            Err(OpenError::Broken) => return Read::Broken(job),
        };
        let owner = format!("{:032x}", rand::random::<u128>());
        let called = AtomicBool::new(false);
        Read::Task(Box::new(Task { job, contents, redelivered, trace, owner, called }))
    }

    fn open(&self, job: &Job) -> Result<Contents, OpenError> {
        if self.keys.get(&job.key_id).is_none() {
            return Err(OpenError::UnknownKey(job.key_id.clone()));
        }
        Contents::open(&self.keys, job.message_id, &job.sealed)
    }
}
