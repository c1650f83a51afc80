//! Rows, held against the attempts that are written with them and against what providers received.

use std::collections::{BTreeSet, HashMap};

use postrider_common::model::job::MAX_KEPT_ATTEMPTS;

use super::super::evidence::{Attempt, Call, Evidence, FAILED, Row, SENT};
use super::Wrong;
use super::messages::{by_message, claims_forgotten};

/// A second worker that takes a message on, because Redis forgot the first one's claim, adds a call and an attempt; it makes
/// no row untrue: one that says sent stays.
pub(super) fn are_not_belied(evidence: &Evidence) -> (String, Vec<String>) {
    let attempts = by_message(&evidence.attempts, |attempt| &attempt.message_id);
    let calls = by_message(&evidence.calls, |call| &call.id);
    let rows: HashMap<&str, &Row> =
        evidence.rows.iter().map(|row| (row.id.as_str(), row)).collect();
    let mut wrong = Vec::new();
    for row in &evidence.rows {
        let of_row = attempts.get(&row.id).map(Vec::as_slice).unwrap_or_default();
        let its_calls = calls.get(&row.id).map(Vec::as_slice).unwrap_or_default();
        let why = belied(row, of_row, its_calls);
        wrong.extend(why.map(|why| format!("{why}: {row:?} {of_row:?} {its_calls:?}")));
    }
    for id in calls.keys().filter(|id| !rows.contains_key(id.as_str())) {
        wrong.push(format!("{id} was handed to a provider and has no row"));
    }
    for id in attempts.keys().filter(|id| !rows.contains_key(id.as_str())) {
        wrong.push(format!("{id} has attempts and no row"));
    }
    (format!("{} rows, {} messages called for", rows.len(), calls.len()), wrong)
}

pub(super) fn add_up(evidence: &Evidence) -> (String, Vec<Wrong>) {
    let attempts = by_message(&evidence.attempts, |attempt| &attempt.message_id);
    let calls = by_message(&evidence.calls, |call| &call.id);
    let mut wrong = Vec::new();
    for row in &evidence.rows {
        let of_row = attempts.get(&row.id).map(Vec::as_slice).unwrap_or_default();
        let its_calls = calls.get(&row.id).map(Vec::as_slice).unwrap_or_default();
        wrong.extend(miscounted(row, of_row, its_calls).map(|why| Wrong {
            what: format!("{why}: {row:?} {of_row:?} {its_calls:?}"),
            // Two workers took it on at once.
            forgotten: claims_forgotten(evidence, its_calls) > 0,
        }));
    }
    let of_status = |status| evidence.rows.iter().filter(|row| row.status == status).count();
    let (sent, failed) = (of_status(SENT), of_status(FAILED));
    let unknown = evidence.rows.len() - sent - failed;
    let carried = evidence.calls.iter().filter(|call| call.carried).count();
    let counted = format!(
        "{} rows: {sent} sent, {failed} failed, {unknown} unknown; {} attempts, {} calls, {carried} carried",
        evidence.rows.len(),
        evidence.attempts.len(),
        evidence.calls.len()
    );
    (counted, wrong)
}

/// What of a row's status its attempts and its calls contradict.
fn belied(row: &Row, attempts: &[&Attempt], calls: &[&Call]) -> impl Iterator<Item = &'static str> {
    let carried = calls.iter().any(|call| call.carried);
    let superseded = row.error_code.as_deref() == Some("superseded");
    let failed = row.status == FAILED && !superseded;
    [
        (row.status == SENT && !carried, "it says sent and no provider has it"),
        (
            row.status != SENT && of_outcome(attempts, "accepted") > 0,
            "an attempt was accepted and it doesn't say sent",
        ),
        (failed && carried, "it says failed and a provider has it"),
        (failed && of_outcome(attempts, "unknown") > 0, "it says failed and nobody knows"),
    ]
    .into_iter()
    .filter_map(|(is_so, why)| is_so.then_some(why))
}

/// What of a row's numbers its attempts and its calls contradict.
fn miscounted(
    row: &Row,
    attempts: &[&Attempt],
    calls: &[&Call],
) -> impl Iterator<Item = &'static str> {
    let numbers: BTreeSet<i32> = attempts.iter().map(|attempt| attempt.number).collect();
    // Of many attempts the last ones are kept.
    let first = (row.attempts - i32::try_from(MAX_KEPT_ATTEMPTS).unwrap() + 1).max(1);
    let complete = attempts.len() == numbers.len() && numbers.into_iter().eq(first..=row.attempts);
    let counted = usize::try_from(row.attempts).unwrap_or_default();
    [
        (!complete, "its attempts aren't the last of as many as it says"),
        (calls.len() > counted, "it was called for more often than it says"),
        (
            row.status == SENT && of_outcome(attempts, "accepted") != 1,
            "it is sent where one attempt was accepted",
        ),
    ]
    .into_iter()
    .filter_map(|(is_so, why)| is_so.then_some(why))
}

fn of_outcome(attempts: &[&Attempt], outcome: &str) -> usize {
    attempts.iter().filter(|attempt| attempt.outcome == outcome).count()
}
