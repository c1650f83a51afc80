//! What is left behind: dead letters, queues, processes; and whether there was anything to see at all.

use std::collections::{BTreeMap, BTreeSet};

use super::super::evidence::{Done, Evidence, Fate, Poison, Verdict};
use super::super::plan::{Fault, Service};

pub(super) fn dead_letters_are_the_poison(evidence: &Evidence) -> (String, Vec<String>) {
    let mut expected: BTreeMap<String, &str> = BTreeMap::new();
    for id in evidence.poison.keys() {
        expected.insert(id.clone(), "undecodable");
    }
    for row in &evidence.rows {
        let reason = match row.error_code.as_deref() {
            Some("attempts_spent") => "attempts_spent",
            Some("isv.MOBILE_NUMBER_ILLEGAL") => "refused",
            _ => continue,
        };
        expected.insert(format!("{}.0", row.id), reason);
    }
    let found: BTreeMap<String, &str> =
        evidence.dead.iter().map(|dead| (dead.id.clone(), dead.reason.as_str())).collect();
    let mut wrong: Vec<String> = Vec::new();
    for (id, reason) in &found {
        match expected.get(id) {
            Some(expected) if expected == reason => {}
            Some(expected) => wrong.push(format!("{id} is dead as {reason}, not as {expected}")),
            None => wrong.push(format!("{id} is dead as {reason}, and is no poison")),
        }
    }
    let missing = expected.iter().filter(|(id, _)| !found.contains_key(*id));
    wrong.extend(missing.map(|(id, reason)| format!("{id} should be dead as {reason}")));
    let rows: BTreeSet<&str> = evidence.rows.iter().map(|row| row.id.as_str()).collect();
    for poison in evidence.poison.values() {
        if let Poison::BrokenJob(id) = poison
            && !rows.contains(id.as_str())
        {
            wrong.push(format!("{id} is poison with an id, and has no row"));
        }
    }
    let of = |reason: &str| found.values().filter(|found| **found == reason).count();
    let counted = format!(
        "{} dead letters: {} undecodable, {} refused, {} with their attempts spent",
        found.len(),
        of("undecodable"),
        of("refused"),
        of("attempts_spent")
    );
    (counted, wrong)
}

pub(super) fn at_rest(evidence: &Evidence) -> (String, Vec<String>) {
    let bound = evidence.rules.recovery_ms;
    let mut wrong: Vec<String> = evidence
        .left
        .iter()
        .map(|(queue, left)| format!("{left} messages are left in {queue}"))
        .collect();
    let mut programs = evidence.recovered.clone();
    programs.insert("all queues".to_owned(), evidence.drained);
    for (name, after) in &programs {
        if after.is_none_or(|after| after > bound) {
            wrong.push(format!("{name} recovered after {after:?} ms, later than {bound}"));
        }
    }
    let after: Vec<String> = programs
        .iter()
        .map(|(name, after)| {
            format!("{name} {}", after.map_or("never".to_owned(), |after| format!("{after} ms")))
        })
        .collect();
    (format!("after the last fault, queues after the load's end: {}", after.join(", ")), wrong)
}

/// What a caller may be told.
const REFUSALS: [&str; 12] = [
    "phone_limited",
    "ip_limited",
    "account_limited",
    "prefix_limited",
    "global_limited",
    "phone_blocked",
    "max_sends_reached",
    "request_in_flight",
    "overloaded",
    "queue_unavailable",
    "store_unavailable",
    "database_unavailable",
];
const VERDICTS: [&str; 7] = [
    "code_mismatch",
    "already_used",
    "too_many_attempts",
    "verification_not_found",
    "store_unavailable",
    "database_unavailable",
    "request_in_flight",
];

pub(super) fn something_to_see(evidence: &Evidence) -> (String, Vec<String>) {
    let mut answers: BTreeMap<&str, usize> = BTreeMap::new();
    let mut wrong = Vec::new();
    for send in &evidence.sends {
        let word = match &send.fate {
            Fate::Accepted { .. } => "accepted",
            Fate::Refused(word) | Fate::Doubtful(word) => word,
        };
        *answers.entry(word).or_default() += 1;
        if matches!(&send.fate, Fate::Refused(word) if !REFUSALS.contains(&word.as_str())) {
            wrong.push(format!("a send was answered so: {send:?}"));
        }
    }
    for check in &evidence.checks {
        let word = match &check.verdict {
            Verdict::Approved(_) => "approved",
            Verdict::Refused { word, .. } | Verdict::Doubtful(word) => word,
        };
        *answers.entry(word).or_default() += 1;
        if matches!(&check.verdict, Verdict::Refused { word, .. } if !VERDICTS.contains(&word.as_str()))
        {
            wrong.push(format!("a check was answered so: {check:?}"));
        }
    }
    let flooded = evidence.faults.iter().any(|done| is_flood(evidence, done));
    for needed in ["accepted", "approved", "phone_limited", "phone_blocked", "overloaded"] {
        if !answers.contains_key(needed) && (flooded || needed != "overloaded") {
            wrong.push(format!("no request was {needed}: this run shows too little"));
        }
    }
    if evidence.faults.is_empty() {
        wrong.push("nothing was done to the service".to_owned());
    }
    let mut counted: Vec<String> =
        answers.iter().map(|(word, count)| format!("{count} {word}")).collect();
    counted.push(format!("{} faults", evidence.faults.len()));
    (counted.join(", "), wrong)
}

/// Whether that was a flood with queue and store there to take it: on a busy machine their restart takes its time.
fn is_flood(evidence: &Evidence, done: &Done) -> bool {
    let away = |fault| {
        let away = Fault::KillService(Service::RabbitMq) == fault
            || Fault::KillService(Service::Redis) == fault;
        away || matches!(fault, Fault::PauseService(_))
    };
    done.fault == Fault::Flood && !evidence.fault(done.begun - 2_000, done.ended, away)
}
