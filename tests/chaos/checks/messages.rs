//! Messages, their rows, and the calls of providers.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::super::evidence::{Attempt, Call, Evidence, FAILED, Fate, Poison, Row, SENT, Send};
use super::super::plan::{Damage, Fault, Program, Service, Trouble, Wire};

/// Ids of messages that callers were told, with the send that says so first.
fn accepted(evidence: &Evidence) -> BTreeMap<&str, &Send> {
    let mut accepted = BTreeMap::new();
    for send in &evidence.sends {
        if let Fate::Accepted { id, .. } = &send.fate {
            accepted.entry(id.as_str()).or_insert(send);
        }
    }
    accepted
}

/// As tables have it.
fn e164(phone: &str) -> String {
    format!("+86{phone}")
}

fn rows_by_id(evidence: &Evidence) -> HashMap<&str, &Row> {
    evidence.rows.iter().map(|row| (row.id.as_str(), row)).collect()
}

pub(super) fn by_message<T>(all: &[T], id: impl Fn(&T) -> &str) -> HashMap<String, Vec<&T>> {
    let mut by_message: HashMap<String, Vec<&T>> = HashMap::new();
    for one in all {
        by_message.entry(id(one).to_owned()).or_default().push(one);
    }
    by_message
}

pub(super) fn every_202_has_its_row(evidence: &Evidence) -> (String, Vec<String>) {
    let accepted = accepted(evidence);
    let mut rows: HashMap<&str, Vec<&Row>> = HashMap::new();
    for row in &evidence.rows {
        rows.entry(&row.id).or_default().push(row);
    }
    let mut wrong = Vec::new();
    for (id, send) in &accepted {
        match rows.get(id).map(Vec::as_slice).unwrap_or_default() {
            [row] if row.lane() == send.lane && row.phone_number == e164(&send.phone) => {}
            [row] => wrong.push(format!(
                "{id} was accepted of step {}, and its row is another's: {row:?}",
                send.step
            )),
            [] => wrong.push(format!("{id} was accepted of step {} and has no row", send.step)),
            rows => wrong.push(format!("{id} has {} rows", rows.len())),
        }
    }
    (format!("{} messages accepted, {} rows", accepted.len(), evidence.rows.len()), wrong)
}

/// The rows that no 202 names, each with a request whose caller wasn't told what came of it; one request at the most
/// stands for one row.
pub(super) fn no_row_from_nowhere(evidence: &Evidence) -> (String, Vec<String>) {
    let accepted = accepted(evidence);
    let poison: BTreeSet<&str> = broken_jobs(evidence).collect();
    let mut doubtful: BTreeMap<(&str, i32), Vec<&Send>> = BTreeMap::new();
    let mut doubts = 0;
    for send in &evidence.sends {
        if matches!(send.fate, Fate::Doubtful(_)) {
            doubts += 1;
            doubtful.entry((&send.phone, send.lane.row_type())).or_default().push(send);
        }
    }
    let mut unnamed: Vec<&Row> = evidence
        .rows
        .iter()
        .filter(|row| !accepted.contains_key(row.id.as_str()) && !poison.contains(row.id.as_str()))
        .collect();
    unnamed.sort_by_key(|row| row.create_time);
    let mut wrong = Vec::new();
    for row in &unnamed {
        let phone = row.phone_number.trim_start_matches("+86");
        let of_phone = doubtful.entry((phone, row.kind)).or_default();
        // Clocks are read apart.
        let could =
            |send: &Send| send.asked - 5 <= row.create_time && row.create_time <= send.ended + 5;
        let ends_first = of_phone
            .iter()
            .enumerate()
            .filter(|(_, send)| could(send))
            .min_by_key(|(_, send)| send.ended)
            .map(|(place, _)| place);
        match ends_first {
            Some(place) => drop(of_phone.swap_remove(place)),
            None => wrong.push(format!("nobody can have asked for {row:?}")),
        }
    }
    (format!("{} rows without a 202, {doubts} requests in doubt", unnamed.len()), wrong)
}

fn broken_jobs(evidence: &Evidence) -> impl Iterator<Item = &str> {
    evidence.poison.values().filter_map(|poison| match poison {
        Poison::BrokenJob(id) => Some(id.as_str()),
        Poison::Garbage => None,
    })
}

pub(super) fn a_key_is_one_message(evidence: &Evidence) -> (String, Vec<String>) {
    let mut answers: BTreeMap<(&str, &str), (BTreeSet<&str>, usize)> = BTreeMap::new();
    for send in &evidence.sends {
        if let (Some(key), Fate::Accepted { id, .. }) = (&send.key, &send.fate) {
            let (ids, count) = answers.entry((key, &send.phone)).or_default();
            ids.insert(id);
            *count += 1;
        }
    }
    let repeated = answers.values().filter(|(_, count)| *count > 1).count();
    let wrong = answers
        .iter()
        .filter(|(_, (ids, _))| ids.len() > 1)
        .map(|(key, (ids, _))| format!("{key:?} was answered with {ids:?}"))
        .collect();
    (
        format!("{} keys and phones, {repeated} of them answered more than once", answers.len()),
        wrong,
    )
}

pub(super) fn carried_twice_only_in_doubt(evidence: &Evidence) -> (String, Vec<String>) {
    let attempts = by_message(&evidence.attempts, |attempt| &attempt.message_id);
    let calls = by_message(&evidence.calls, |call| &call.id);
    let (mut wrong, mut twice, mut lost) = (Vec::new(), 0, 0);
    for (id, attempts) in &attempts {
        for attempt in attempts.iter().filter(|attempt| attempt.outcome == "unknown") {
            lost += 1;
            let calls = calls.get(id).map(Vec::as_slice).unwrap_or_default();
            if !can_be_lost(evidence, attempt, calls) {
                wrong.push(format!(
                    "nothing explains that this answer was lost: {attempt:?} {calls:?}"
                ));
            }
        }
    }
    let none = Vec::new();
    for (id, calls) in &calls {
        let carried = calls.iter().filter(|call| call.carried).count();
        let unknown = attempts
            .get(id)
            .unwrap_or(&none)
            .iter()
            .filter(|attempt| attempt.outcome == "unknown")
            .count();
        twice += usize::from(carried > 1);
        // A lost answer of a notice isn't followed by another try.
        let most = if calls.iter().any(|call| call.code.is_some()) { 1 + unknown } else { 1 };
        if carried > most {
            wrong
                .push(format!("{id} was carried {carried} times, and {unknown} answers were lost"));
        }
    }
    let messages = calls.len();
    (format!("{messages} messages called for, {twice} carried twice, {lost} answers lost"), wrong)
}

/// Whether something that was done to the service explains that an attempt's answer was lost.
fn can_be_lost(evidence: &Evidence, attempt: &Attempt, calls: &[&Call]) -> bool {
    let (from, to) = (attempt.at - 1_000, attempt.at + attempt.duration_ms + 1_000);
    match attempt.error_code.as_deref().unwrap_or_default() {
        "timeout" => attempt.duration_ms >= evidence.rules.read_timeout_ms - 100,
        // Its worker ended, stood still, or couldn't tell the store.
        "interrupted" => evidence.fault(from, to, |fault| {
            matches!(
                fault,
                Fault::Kill(Program::Worker(_))
                    | Fault::Pause(Program::Worker(_))
                    | Fault::Flood
                    | Fault::KillService(Service::Redis)
                    | Fault::PauseService(Service::Redis)
                    | Fault::Wire(Wire::ToService(Program::Worker(_), Service::Redis), _)
            )
        }),
        "broken_answer" => {
            calls.iter().any(|call| !call.answered)
                || evidence.fault(from, to, |fault| {
                    matches!(
                        fault,
                        Fault::Wire(Wire::ToProviders(_), Damage::Cut | Damage::Refused)
                    )
                })
        }
        _ => evidence.fault(from, to, |fault| matches!(fault, Fault::Provider(_, Trouble::Breaks))),
    }
}

pub(super) fn counts_add_up(evidence: &Evidence) -> (String, Vec<String>) {
    let attempts = by_message(&evidence.attempts, |attempt| &attempt.message_id);
    let calls = by_message(&evidence.calls, |call| &call.id);
    let rows = rows_by_id(evidence);
    let mut wrong = Vec::new();
    for row in &evidence.rows {
        let of_row = attempts.get(&row.id).map(Vec::as_slice).unwrap_or_default();
        let its_calls = calls.get(&row.id).map(Vec::as_slice).unwrap_or_default();
        wrong.extend(
            misfits(row, of_row, its_calls)
                .map(|why| format!("{why}: {row:?} {of_row:?} {its_calls:?}")),
        );
    }
    for id in calls.keys().filter(|id| !rows.contains_key(id.as_str())) {
        wrong.push(format!("{id} was handed to a provider and has no row"));
    }
    for id in attempts.keys().filter(|id| !rows.contains_key(id.as_str())) {
        wrong.push(format!("{id} has attempts and no row"));
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

/// What of a row its attempts and its calls contradict.
fn misfits(
    row: &Row,
    attempts: &[&Attempt],
    calls: &[&Call],
) -> impl Iterator<Item = &'static str> {
    let count =
        |outcome: &str| attempts.iter().filter(|attempt| attempt.outcome == outcome).count();
    let numbers: BTreeSet<i32> = attempts.iter().map(|attempt| attempt.number).collect();
    let carried = calls.iter().any(|call| call.carried);
    let complete = attempts.len() == numbers.len() && numbers.into_iter().eq(1..=row.attempts);
    let superseded = row.error_code.as_deref() == Some("superseded");
    [
        (!complete, "its attempts aren't 1 to as many as it says"),
        (calls.len() > attempts.len(), "it was called for more often than it says"),
        (
            count("accepted") != usize::from(row.status == SENT),
            "it is sent where one attempt was accepted",
        ),
        (row.status == SENT && !carried, "it says sent and no provider has it"),
        (row.status == FAILED && carried && !superseded, "it says failed and a provider has it"),
        (
            row.status == FAILED && count("unknown") > 0 && !superseded,
            "it says failed and nobody knows",
        ),
    ]
    .into_iter()
    .filter_map(|(is_so, why)| is_so.then_some(why))
}
