//! How a delivery ends: its row is written, or its next attempt published, and only then is it acked.

use super::*;

impl Sender {
    /// `contents` where this process has the job's key.
    pub(super) async fn finish(
        &self,
        job: &Job,
        contents: Option<&Contents>,
        trace: Option<String>,
        ending: Ending,
        receipt: Receipt,
    ) {
        let (resolution, approved_at) = match ending {
            Ending::Drop => return self.acks.finished(receipt).await,
            Ending::Resolved(resolution, approved_at) => (resolution, approved_at),
        };
        if let Some((job, delay_ms)) = resolution.next_job(job) {
            let (rung, rest) = hop(Duration::from_millis(delay_ms));
            return Box::pin(self.forward(job, rung, rest, trace, receipt)).await;
        }
        let rules =
            self.settings.code_rules(&job.purpose).unwrap_or_else(|| self.settings.code.clone());
        let encrypted = rules.store_encrypted;
        let record = || {
            let code = self.code(job).filter(|_| encrypted);
            let record = resolution.record(job, contents, code.as_ref(), &self.keys, approved_at);
            log(&record, contents, trace.as_deref());
            record
        };
        self.recorder.finish(record, receipt).await;
    }

    /// Publishes a job again, confirmed, and only then has the old delivery acked.
    pub(super) async fn forward(
        &self,
        mut job: Job,
        rung: Option<Rung>,
        rest: Duration,
        trace: Option<String>,
        receipt: Receipt,
    ) {
        job.wait_ms = u64::try_from(rest.as_millis()).unwrap_or(u64::MAX);
        let to =
            rung.map_or(Destination::Lane(job.lane), |rung| Destination::Retry(job.lane, rung));
        let message = Outgoing { id: job.message_id.to_string(), body: job.encode(), trace };
        loop {
            match self.queue.publish(to, message.clone()).await {
                Published::Confirmed => break,
                Published::Failed(why) | Published::Unknown(why) => {
                    // A copy too many is dropped by its claim.
                    tracing::debug!(message.id = %job.message_id, %why, "a retry is published again");
                    sleep(PAUSE).await;
                }
            }
        }
        self.acks.finished(receipt).await;
    }

    /// Bytes that are no job: a dead letter, and no row, since they have no id.
    pub(super) async fn undecodable(&self, body: &[u8], lane: Lane, why: &str, receipt: Receipt) {
        let reason = DeadReason::Undecodable;
        let record = || dead_bytes(&self.keys, body, Some(lane), reason, why);
        self.recorder.finish(record, receipt).await;
    }

    /// A job whose sealed part is broken: it has an id, so a row is owed, though nobody knows the phone.
    pub(super) async fn broken(&self, job: &Job, receipt: Receipt) {
        tracing::error!(message.id = %job.message_id, "the sealed part of a job is broken: it is poison");
        let decision = end(job, "poison", Some(DeadReason::Undecodable));
        let resolution = Resolution { attempt: None, response: None, decision, at: wall_clock() };
        let record = || resolution.record(job, None, None, &self.keys, None);
        self.recorder.finish(record, receipt).await;
    }
}

fn log(record: &Record, contents: Option<&Contents>, trace: Option<&str>) {
    let Some(row) = &record.row else { return };
    let status = row.message_status();
    let word = serde_json::to_value(status)
        .ok()
        .and_then(|w| w.as_str().map(str::to_owned))
        .unwrap_or_default();
    metrics::counter!("sms_messages_total", "lane" => row.lane.as_str(), "status" => word.clone())
        .increment(1);
    tracing::info!(
        message.id = %row.id,
        message.lane = %row.lane,
        message.status = word,
        message.attempts = row.attempts,
        provider.name = row.provider.as_deref().unwrap_or_default(),
        error.code = row.error_code.as_deref().unwrap_or_default(),
        phone = contents.map(|contents| contents.phone.masked()).unwrap_or_default(),
        trace.parent = trace.unwrap_or_default(),
        "message ended"
    );
}
