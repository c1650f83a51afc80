//! Writes records into the tables. A batch that fails is split until what the database doesn't take is alone.

use postrider_common::database::dead_letter::{DeadReason, NewDeadLetter, refused_row_id};
use postrider_common::database::sms_log::{Record, Row};
use postrider_common::database::{Database, DatabaseError};
use postrider_common::model::ids::MessageId;
use postrider_common::runtime::outage_log::OutageLog;
use postrider_common::secrets::{KeyRing, SealedFor};

use crate::send::wall_clock;
use crate::waiting_row::to_json;

/// The tables, as records are written into them.
#[derive(Debug, Clone)]
pub(crate) struct Rows {
    pub(crate) database: Database,
    pub(crate) keys: KeyRing,
}

/// The state of a batch after a try.
#[derive(Debug, Default)]
pub(crate) struct Written {
    /// Messages whose row is committed, or kept in a dead letter: none will follow.
    pub(crate) committed: Vec<MessageId>,
    /// Places in the batch of what is to be written later.
    pub(crate) waiting: Vec<usize>,
    /// The last reason to wait.
    pub(crate) error: Option<DatabaseError>,
}

/// Logs why rows wait: when it begins, once a minute, and when it ends.
#[derive(Debug, Default)]
pub(crate) struct WaitLog(OutageLog);

impl WaitLog {
    pub(crate) fn note(&mut self, written: &Written, what: &'static str) {
        let rows = written.waiting.len();
        match &written.error {
            None if self.0.end() => tracing::info!("the database takes rows again"),
            None => {}
            Some(error) if self.0.is_due() => tracing::warn!(%error, rows, "{what}"),
            Some(error) => tracing::debug!(%error, rows, "{what}"),
        }
    }
}

impl Written {
    /// The state of a batch of so many of which nothing was written.
    pub(crate) fn none(records: usize, error: DatabaseError) -> Self {
        Self { waiting: (0..records).collect(), error: Some(error), ..Self::default() }
    }

    fn wait(&mut self, places: impl IntoIterator<Item = usize>, error: DatabaseError) {
        self.waiting.extend(places);
        self.error = Some(error);
    }
}

impl Rows {
    /// Writes what can be written now. A row that is refused alone, because of its own data, is kept as a dead letter;
    /// every other failure leaves it waiting. However many rows fail, the others are written.
    pub(crate) async fn write(&self, records: &[Record]) -> Written {
        let mut written = Written::default();
        let whole = 0..records.len();
        let mut parts = vec![whole];
        while let Some(part) = parts.pop() {
            let batch = &records[part.clone()];
            let error = match self.database.record(batch).await {
                Ok(()) => {
                    written.committed.extend(messages(batch));
                    continue;
                }
                Err(error) => error,
            };
            if matches!(error, DatabaseError::Unavailable(_)) {
                written.wait(part, error);
                written.waiting.extend(parts.into_iter().flatten());
                break;
            }
            if let [record] = batch {
                self.write_refused(record, part.start, error, &mut written).await;
            } else {
                let middle = part.start + part.len() / 2;
                parts.push(middle..part.end);
                parts.push(part.start..middle);
            }
        }
        metrics::counter!("sms_rows_written_total").increment(written.committed.len() as u64);
        written
    }

    async fn write_refused(
        &self,
        record: &Record,
        place: usize,
        error: DatabaseError,
        written: &mut Written,
    ) {
        if !matches!(error, DatabaseError::Refused(_)) {
            return written.wait([place], error);
        }
        match self.write_apart(record).await {
            Ok(committed) => written.committed.extend(committed),
            // Only a dead letter is refused here: its row was kept as one.
            Err(DatabaseError::Refused(why)) => {
                let why = format!("a dead letter can't be written: {why}");
                written.wait([place], DatabaseError::Failed(why));
            }
            Err(error) => written.wait([place], error),
        }
    }

    /// Writes a row and its dead letter each alone: one of them was refused. Gives the message whose row is committed, or kept
    /// in a dead letter.
    async fn write_apart(&self, record: &Record) -> Result<Option<MessageId>, DatabaseError> {
        let row = Record { dead_letter: None, ..record.clone() };
        let committed = match self.database.record(std::slice::from_ref(&row)).await {
            Ok(()) => row.row.map(|row| row.id),
            Err(DatabaseError::Refused(why)) => self.write_dead(&row, &why).await?,
            Err(error) => return Err(error),
        };
        if record.dead_letter.is_some() {
            let dead_letter = record.dead_letter.clone();
            let letter = Record { row: None, attempts: Vec::new(), dead_letter };
            self.database.record(&[letter]).await?;
        }
        Ok(committed)
    }

    /// Keeps a refused row whole in a dead letter, and writes it without what providers said, if that is taken.
    async fn write_dead(
        &self,
        record: &Record,
        why: &str,
    ) -> Result<Option<MessageId>, DatabaseError> {
        let Some(row) = &record.row else { return Ok(None) };
        match self.database.record(&[without_texts(record)]).await {
            Ok(()) | Err(DatabaseError::Refused(_)) => {}
            Err(error) => return Err(error),
        }
        let dead_letter = Some(self.dead_letter(record, row, why));
        let letter = Record { row: None, attempts: Vec::new(), dead_letter };
        self.database.record(&[letter]).await?;
        tracing::error!(message.id = %row.id, %why, "the database refused a row: it is a dead letter");
        Ok(Some(row.id))
    }

    fn dead_letter(&self, record: &Record, row: &Row, why: &str) -> NewDeadLetter {
        let id = refused_row_id(row.id);
        NewDeadLetter {
            message_id: Some(row.id),
            lane: Some(row.lane),
            reason: DeadReason::RowRefused,
            detail: why.to_owned(),
            attempts: Vec::new(),
            job: self.keys.seal(SealedFor::Log, &to_json(record), id.as_bytes()),
            id,
            create_time: wall_clock(),
        }
    }
}

fn messages(records: &[Record]) -> impl Iterator<Item = MessageId> {
    records.iter().filter_map(|record| record.row.as_ref().map(|row| row.id))
}

fn without_texts(record: &Record) -> Record {
    let mut bare = record.clone();
    if let Some(row) = &mut bare.row {
        (row.response, row.error_message, row.provider_message_id) = (None, None, None);
    }
    for attempt in &mut bare.attempts {
        (attempt.error_message, attempt.provider_message_id) = (None, None);
    }
    bare
}
