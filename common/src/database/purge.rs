//! Deletes what is old, in batches that are each a short transaction: whoever writes meanwhile is never held up for long.

use std::time::Duration;

use sea_query::{Expr, ExprTrait as _, Order, Query, SelectStatement};
use tokio::time::Instant;

use super::sms_log::RowStatus;
use super::statement::Write;
use super::{Database, DatabaseError};

/// Rows in one transaction.
const BATCH: usize = 1000;
/// Between two batches, at the least.
const PAUSE: Duration = Duration::from_millis(10);

/// What is kept for a while and then of no more use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// `sms_log`, with the tries in `sms_attempt`.
    Messages,
    /// `dead_letter`: the old, and those whose message was sent since, by a late answer.
    DeadLetters,
    /// `sms_refusal`.
    Refusals,
    /// `sms_blacklist_change`: who changed bans.
    BlacklistChanges,
    /// `sms_blacklist`: bans that ended; those in force and for good stay.
    EndedBans,
    /// `revocation`: of tokens that have expired, whose revocation says nothing any more.
    Revocations,
}

/// How many rows went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Purged {
    pub rows: u64,
    /// Of `sms_attempt`.
    pub attempts: u64,
}

/// A row's place in the order of time.
#[derive(Debug, Clone, sqlx::FromRow)]
struct Place {
    place_time: i64,
    place_key: String,
}

#[derive(sqlx::FromRow)]
struct Count {
    rows: i64,
}

impl Kept {
    /// In the order in which they are purged: what shows that a dead letter's message was sent comes after it.
    pub const ALL: [Self; 6] = [
        Self::DeadLetters,
        Self::Messages,
        Self::Refusals,
        Self::BlacklistChanges,
        Self::EndedBans,
        Self::Revocations,
    ];

    #[must_use]
    pub fn table(self) -> &'static str {
        match self {
            Self::Messages => "sms_log",
            Self::DeadLetters => "dead_letter",
            Self::Refusals => "sms_refusal",
            Self::BlacklistChanges => "sms_blacklist_change",
            Self::EndedBans => "sms_blacklist",
            Self::Revocations => "revocation",
        }
    }

    fn key(self) -> &'static str {
        match self {
            Self::Revocations => "jti",
            // Of whatever kind: what is deleted must have ended, too.
            Self::EndedBans => "value",
            _ => "id",
        }
    }

    fn time(self) -> &'static str {
        match self {
            Self::Revocations => "expires_at",
            Self::EndedBans => "until",
            _ => "create_time",
        }
    }

    /// Which rows may go.
    fn is_old(self, before: i64) -> Expr {
        let old = Expr::col(self.time()).lt(before);
        if self != Self::DeadLetters {
            return old;
        }
        let mut sent = Query::select();
        sent.expr(Expr::val(1))
            .from("sms_log")
            .and_where(Expr::col(("sms_log", "id")).equals(("dead_letter", "message_id")))
            .and_where(Expr::col(("sms_log", "status")).eq(RowStatus::Sent as i32));
        old.or(Expr::exists(sent))
    }

    /// The oldest rows that may go, of those after a place.
    fn oldest(self, before: i64, after: Option<&Place>) -> SelectStatement {
        let mut select = Query::select();
        select
            .expr_as(Expr::col(self.time()), "place_time")
            .expr_as(Expr::col(self.key()), "place_key")
            .from(self.table())
            .and_where(self.is_old(before))
            .order_by(self.time(), Order::Asc)
            .order_by(self.key(), Order::Asc)
            .limit(BATCH as u64);
        if let Some(Place { place_time, place_key }) = after {
            // Said twice, so that an index on both is entered at the right place.
            let later = Expr::col(self.time()).gt(*place_time);
            let next = later.or(Expr::col(self.key()).gt(place_key.as_str()));
            select.and_where(Expr::col(self.time()).gte(*place_time)).and_where(next);
        }
        select
    }
}

impl Database {
    /// Deletes the rows from before `before` (unix milliseconds); with `dry_run`, only counts them. What was deleted
    /// stays deleted when this is interrupted or fails, and the next purge goes on from there.
    pub async fn purge(
        &self,
        what: Kept,
        before: i64,
        dry_run: bool,
    ) -> Result<Purged, DatabaseError> {
        let (mut purged, mut after) = (Purged::default(), None);
        loop {
            let begun = Instant::now();
            // From where the last batch ended: what was deleted there is still in the indexes of some engines.
            let select = what.oldest(before, after.as_ref());
            let places: Vec<Place> = self.fetch(&select).await?;
            let keys = || places.iter().map(|place| place.place_key.as_str());
            let batch = if dry_run {
                self.count(what, keys().collect()).await?
            } else {
                self.delete(what, before, keys().collect()).await?
            };
            purged.rows += batch.rows;
            purged.attempts += batch.attempts;
            if places.len() < BATCH {
                return Ok(purged);
            }
            after = places.into_iter().last();
            // As long as the batch took, so that others have at least half of the time.
            tokio::time::sleep(begun.elapsed().max(PAUSE)).await;
        }
    }

    async fn delete(
        &self,
        what: Kept,
        before: i64,
        keys: Vec<&str>,
    ) -> Result<Purged, DatabaseError> {
        if keys.is_empty() {
            return Ok(Purged::default());
        }
        let delete = |table: &'static str, column: &'static str| {
            let mut delete = Query::delete();
            delete.from_table(table).and_where(Expr::col(column).is_in(keys.iter().copied()));
            delete
        };
        let mut rows = delete(what.table(), what.key());
        if what == Kept::EndedBans {
            // One may have been set again since it was looked at.
            rows.and_where(what.is_old(before));
        }
        let rows = Write::Delete(rows);
        if what != Kept::Messages {
            let touched = self.write(&[rows]).await?;
            return Ok(Purged { rows: touched.iter().sum(), attempts: 0 });
        }
        // In the order in which they are written, so that neither waits for the other while the other waits for it.
        let touched =
            self.write(&[rows, Write::Delete(delete("sms_attempt", "message_id"))]).await?;
        let touched = |place: usize| touched.get(place).copied().unwrap_or_default();
        Ok(Purged { rows: touched(0), attempts: touched(1) })
    }

    async fn count(&self, what: Kept, keys: Vec<&str>) -> Result<Purged, DatabaseError> {
        let rows = keys.len() as u64;
        if keys.is_empty() || what != Kept::Messages {
            return Ok(Purged { rows, attempts: 0 });
        }
        let mut select = Query::select();
        select
            .expr_as(Expr::col("message_id").count(), "rows")
            .from("sms_attempt")
            .and_where(Expr::col("message_id").is_in(keys));
        let counts: Vec<Count> = self.fetch(&select).await?;
        let attempts = counts.iter().map(|count| count.rows.unsigned_abs()).sum();
        Ok(Purged { rows, attempts })
    }
}
