//! Messages: what callers were told of them, and how often providers carried them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::super::evidence::{Attempt, Call, Evidence, Fate, Poison, Row, Send, Span};
use super::super::plan::{Damage, Fault, Program, Service, Trouble, Wire};
use super::{Wrong, first_of_each};

/// How far two clocks of this machine, the store's and ours, may be read apart.
pub(super) const APART_MS: i64 = 5;
/// A claim is written before its call, whose connection may take its time, and what came of it after the answer.
const ABOUT_A_CALL_MS: i64 = 1_000;

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
pub(super) fn e164(phone: &str) -> String {
    format!("+86{phone}")
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
        let could = |send: &Send| {
            (send.asked - APART_MS..=send.ended + APART_MS).contains(&row.create_time)
        };
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

pub(super) fn a_key_is_one_message(evidence: &Evidence) -> (String, Vec<Wrong>) {
    let mut answers: BTreeMap<(&str, &str), Vec<(&str, Span)>> = BTreeMap::new();
    for send in &evidence.sends {
        if let (Some(key), Fate::Accepted { id, .. }) = (&send.key, &send.fate) {
            let of_key = answers.entry((key, &send.phone)).or_default();
            of_key.push((id, (send.asked, send.ended)));
        }
    }
    let repeated = answers.values().filter(|of_key| of_key.len() > 1).count();
    let wrong = answers
        .iter()
        .map(|(key, of_key)| (key, first_of_each(of_key.iter().copied())))
        .filter(|(_, ids)| ids.len() > 1)
        .map(|(key, ids)| Wrong {
            what: format!("{key:?} was answered with {ids:?}"),
            forgotten: evidence.may_forget_all_before_the_last(ids.into_values()),
        })
        .collect();
    (
        format!("{} keys and phones, {repeated} of them answered more than once", answers.len()),
        wrong,
    )
}

pub(super) fn carried_twice_only_in_doubt(evidence: &Evidence) -> (String, Vec<Wrong>) {
    let attempts = by_message(&evidence.attempts, |attempt| &attempt.message_id);
    let calls = by_message(&evidence.calls, |call| &call.id);
    let (mut wrong, mut twice, mut lost) = (Vec::new(), 0, 0);
    for (id, attempts) in &attempts {
        for attempt in attempts.iter().filter(|attempt| attempt.outcome == "unknown") {
            lost += 1;
            let calls = calls.get(id).map(Vec::as_slice).unwrap_or_default();
            if !can_be_lost(evidence, attempt, calls) {
                wrong.push(Wrong {
                    what: format!(
                        "nothing explains that this answer was lost: {attempt:?} {calls:?}"
                    ),
                    // Its claim is there, and what came of it isn't: another worker met that.
                    forgotten: attempt.error_code.as_deref() == Some("interrupted")
                        && evidence.may_forget(about(attempt)),
                });
            }
        }
    }
    let none = Vec::new();
    for (id, calls) in &calls {
        let carried: Vec<&Call> = calls.iter().copied().filter(|call| call.carried).collect();
        let unknown = attempts
            .get(id)
            .unwrap_or(&none)
            .iter()
            .filter(|attempt| attempt.outcome == "unknown")
            .count();
        twice += usize::from(carried.len() > 1);
        // A lost answer of a notice isn't followed by another try.
        let most = if calls.iter().any(|call| call.code.is_some()) { 1 + unknown } else { 1 };
        if carried.len() > most {
            let times = carried.len();
            wrong.push(Wrong {
                what: format!("{id} was carried {times} times, and {unknown} answers were lost"),
                forgotten: claims_forgotten(evidence, &carried) >= times - most,
            });
        }
    }
    let messages = calls.len();
    (format!("{messages} messages called for, {twice} carried twice, {lost} answers lost"), wrong)
}

/// How many calls that another followed Redis may have forgotten: their claim, or what came of it.
pub(super) fn claims_forgotten(evidence: &Evidence, calls: &[&Call]) -> usize {
    let is_forgotten = |call: &&&Call| {
        let answered = call.at + evidence.rules.read_timeout_ms;
        evidence.may_forget((call.at - ABOUT_A_CALL_MS, answered + ABOUT_A_CALL_MS))
    };
    let before = calls.split_last().map_or(&[][..], |(_, before)| before);
    before.iter().filter(is_forgotten).count()
}

fn about(attempt: &Attempt) -> Span {
    (attempt.at - ABOUT_A_CALL_MS, attempt.at + attempt.duration_ms + ABOUT_A_CALL_MS)
}

/// Whether something that was done to the service explains that an attempt's answer was lost.
fn can_be_lost(evidence: &Evidence, attempt: &Attempt, calls: &[&Call]) -> bool {
    let (from, to) = about(attempt);
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
