//! A record as it waits in `sms.rows`: sealed, since it holds a phone number, beside the part of it that tells nothing.

use std::time::Duration;

use postrider_common::database::dead_letter::{DeadReason, NewDeadLetter};
use postrider_common::database::sms_log::{Record, Row};
use postrider_common::model::job::Attempt;
use postrider_common::secrets::{KeyRing, OpenError, SealedFor};
use serde::{Deserialize, Serialize};

/// What sealed rows are bound to.
const BOUND_TO: &[u8] = b"sms.rows";
/// How long a dead letter without a row waits for a worker that has its secret.
const DEAD_LETTER_WAIT: Duration = Duration::from_mins(10);

#[derive(Serialize, Deserialize)]
struct WaitingRow {
    sealed: String,
    /// The record without phone number, address, code and texts.
    open: Record,
}

/// Writes a record as it is queued.
pub(crate) fn seal(keys: &KeyRing, record: &Record) -> Vec<u8> {
    let sealed = keys.seal(SealedFor::Queue, &to_json(record), BOUND_TO);
    to_json(&WaitingRow { sealed, open: open_part(record) })
}

/// Writes a record, or one beside its sealed form, as bytes.
pub(crate) fn to_json(record: &impl Serialize) -> Vec<u8> {
    #[expect(clippy::expect_used, reason = "numbers and strings always serialise")]
    serde_json::to_vec(record).expect("a record serialises")
}

/// Reads a queued record. Older versions queued the sealed text alone.
pub(crate) fn open(keys: &KeyRing, body: &[u8]) -> Result<Record, OpenError> {
    let text = std::str::from_utf8(body).map_err(|_| OpenError::Broken)?;
    let waiting: Option<WaitingRow> = serde_json::from_str(text).ok();
    let sealed = waiting.as_ref().map_or(text, |waiting| waiting.sealed.as_str());
    let plain = keys.open(SealedFor::Queue, sealed, BOUND_TO)?;
    serde_json::from_slice(&plain).map_err(|_| OpenError::Broken)
}

/// The records that are left of one whose secret no worker had until its message's deadline: its row without what is
/// sealed, a dead letter with the sealed text, and its own dead letter. `None` before then.
pub(crate) fn without_secret(keys: &KeyRing, body: &[u8], now: i64) -> Option<Vec<Record>> {
    let WaitingRow { open, .. } = serde_json::from_slice(body).ok()?;
    let own = open.dead_letter;
    let own_deadline = own
        .as_ref()
        .map(|dead| dead.create_time.saturating_add_unsigned(DEAD_LETTER_WAIT.as_secs() * 1000));
    let deadline = open.row.as_ref().map(|row| row.deadline).or(own_deadline)?;
    if now < deadline {
        return None;
    }
    let own = own.map(|dead| Record { row: None, attempts: Vec::new(), dead_letter: Some(dead) });
    let row = open.row.map(|row| {
        let dead_letter = Some(dead_letter(keys, &row, &open.attempts, body, now));
        Record { row: Some(row), attempts: open.attempts, dead_letter }
    });
    Some(row.into_iter().chain(own).collect())
}

fn dead_letter(
    keys: &KeyRing,
    row: &Row,
    attempts: &[Attempt],
    body: &[u8],
    now: i64,
) -> NewDeadLetter {
    let id = format!("{}.key", row.id);
    NewDeadLetter {
        message_id: Some(row.id),
        lane: Some(row.lane),
        reason: DeadReason::KeyMissing,
        detail: "no worker had the secret that its row was sealed with".to_owned(),
        attempts: attempts.to_vec(),
        job: keys.seal(SealedFor::Log, body, id.as_bytes()),
        id,
        create_time: now,
    }
}

fn open_part(record: &Record) -> Record {
    let attempts = |attempts: &[Attempt]| attempts.iter().map(open_attempt).collect();
    Record {
        row: record.row.clone().map(|row| Row {
            phone_number: String::new(),
            code: None,
            client_ip: None,
            provider_message_id: None,
            error_message: None,
            response: None,
            ..row
        }),
        attempts: attempts(&record.attempts),
        dead_letter: record.dead_letter.clone().map(|dead| NewDeadLetter {
            detail: String::new(),
            attempts: attempts(&dead.attempts),
            ..dead
        }),
    }
}

fn open_attempt(attempt: &Attempt) -> Attempt {
    Attempt { provider_message_id: None, error_message: None, ..attempt.clone() }
}

#[cfg(test)]
mod tests {
    use postrider_common::model::job::{Lane, Outcome};

    use super::*;
    use crate::decision::Decision;
    use crate::resolution::Resolution;
    use crate::testing::{attempt, job};

    const NOW: i64 = 1_000_000;

    fn ring(secret: &str) -> KeyRing {
        format!("a-secret-of-the-tests-of-more-than-32-bytes-{secret}").parse().unwrap()
    }

    /// Of a message that was sent, with a mark in each text, and with a dead letter.
    fn record(keys: &KeyRing) -> Record {
        let error_message = Some("MARK".to_owned());
        let provider_message_id = Some("MARK".to_owned());
        let last = attempt(1, "main", Outcome::Accepted);
        let last = Attempt { error_message, provider_message_id, ..last };
        let job = job(Lane::Code, &[]);
        let resolution = Resolution {
            attempt: Some(last),
            response: Some("MARK".to_owned()),
            decision: Decision::Done,
            at: 5,
        };
        let mut record = resolution.record(&job, None, None, keys, None);
        let row = record.row.as_mut().unwrap();
        row.phone_number = "+86MARK".to_owned();
        row.client_ip = Some("MARK".to_owned());
        row.code = Some("MARK".to_owned());
        assert_eq!(row.deadline, NOW, "the job's");
        let mut dead_letter = dead_letter(keys, row, &record.attempts, b"", 5);
        (dead_letter.id, dead_letter.detail) = ("own".to_owned(), "MARK".to_owned());
        Record { dead_letter: Some(dead_letter), ..record }
    }

    #[test]
    fn a_record_is_read_back_whole_and_nothing_of_it_is_in_the_clear() {
        let keys = ring("a");
        let record = record(&keys);
        let body = seal(&keys, &record);
        assert!(!String::from_utf8(body.clone()).unwrap().contains("MARK"));
        assert_eq!(open(&keys, &body), Ok(record.clone()));
        let plain = serde_json::to_vec(&record).unwrap();
        let older = keys.seal(SealedFor::Queue, &plain, BOUND_TO).into_bytes();
        assert_eq!(open(&keys, &older), Ok(record));
        assert!(matches!(open(&ring("b"), &body), Err(OpenError::UnknownKey(_))));
        assert!(matches!(open(&ring("b"), &older), Err(OpenError::UnknownKey(_))));
        assert_eq!(open(&keys, b"{}"), Err(OpenError::Broken));
    }

    #[test]
    fn without_its_secret_a_row_is_written_once_its_deadline_is_past() {
        let (old, new) = (ring("a"), ring("b"));
        let record = record(&old);
        let body = seal(&old, &record);
        assert_eq!(without_secret(&new, &body, NOW - 1), None);
        let left = without_secret(&new, &body, NOW).unwrap();
        let [with_row, own] = left.as_slice() else { panic!("{left:?}") };
        let row = with_row.row.as_ref().unwrap();
        let whole = record.row.as_ref().unwrap();
        assert_eq!((row.id, row.status, row.phone_number.as_str()), (whole.id, whole.status, ""));
        assert_eq!(with_row.attempts.len(), 1);
        let dead = with_row.dead_letter.as_ref().unwrap();
        assert_eq!((dead.reason, dead.message_id), (DeadReason::KeyMissing, Some(row.id)));
        let kept = new.open(SealedFor::Log, &dead.job, dead.id.as_bytes()).unwrap();
        assert_eq!(open(&old, &kept), Ok(record), "who has the secret can still read it");
        assert_eq!(own.dead_letter.as_ref().unwrap().id, "own");
    }

    #[test]
    fn what_an_older_version_queued_waits_for_its_secret() {
        let keys = ring("a");
        let plain = serde_json::to_vec(&record(&keys)).unwrap();
        let older = keys.seal(SealedFor::Queue, &plain, BOUND_TO).into_bytes();
        assert_eq!(without_secret(&ring("b"), &older, i64::MAX), None);
    }
}
