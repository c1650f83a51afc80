//! Limits: what was let through of each, window by window. A message that was given back counts for what was accepted
//! before its last call began: later it may be gone.

use std::collections::{BTreeMap, HashMap, HashSet};

use postrider_common::model::limits::Scope;

use super::super::evidence::{Evidence, FAILED, Fate, Limit, Row};
use super::Wrong;

const REFUSALS: [&str; 5] =
    ["phone_limited", "ip_limited", "account_limited", "prefix_limited", "global_limited"];

pub(super) fn none_exceeded(evidence: &Evidence) -> (String, Vec<Wrong>) {
    let lost: HashSet<&str> = evidence
        .attempts
        .iter()
        .filter(|attempt| attempt.outcome == "unknown")
        .map(|attempt| attempt.message_id.as_str())
        .collect();
    let mut last_calls: HashMap<&str, i64> = HashMap::new();
    for attempt in &evidence.attempts {
        let begun = last_calls.entry(&attempt.message_id).or_default();
        *begun = attempt.at.max(*begun);
    }
    let given_back = |row: &Row| {
        let is_so = row.status == FAILED && !lost.contains(row.id.as_str());
        is_so.then(|| last_calls.get(row.id.as_str()).copied().unwrap_or(row.create_time))
    };
    let (mut wrong, mut counted) = (Vec::new(), Vec::new());
    for limit in &evidence.rules.limits {
        let mut fullest = 0;
        for (of, mut entries) in passed(evidence, limit, given_back) {
            entries.sort_unstable();
            let most = fullest_window(&entries, limit.window_ms, |_| true);
            fullest = fullest.max(most);
            if most > limit.quota {
                let is_known = |at| !evidence.may_forget((at, at));
                wrong.push(Wrong {
                    what: format!(
                        "{} {:?} {of}: {most} of {}",
                        limit.lane, limit.scope, limit.quota
                    ),
                    forgotten: fullest_window(&entries, limit.window_ms, is_known) <= limit.quota,
                });
            }
        }
        counted.push(format!("{} {:?} {fullest}/{}", limit.lane, limit.scope, limit.quota));
    }
    let refused: Vec<String> = REFUSALS
        .iter()
        .map(|word| {
            let is_so = |fate: &Fate| matches!(fate, Fate::Refused(said) if said == word);
            let count = evidence.sends.iter().filter(|send| is_so(&send.fate)).count();
            format!("{count} {word}")
        })
        .collect();
    (format!("fullest windows {}; {}", counted.join(", "), refused.join(", ")), wrong)
}

/// A message in a limit: when it was let through, and until when it surely counts.
type Entry = (i64, i64);

/// The messages that a limit counts, by what it tells apart; all are one account's. The table's own rows, so also those that
/// no caller was told of. `given_back`: from when on a message of the phone may have been, if it was.
fn passed(
    evidence: &Evidence,
    limit: &Limit,
    given_back: impl Fn(&Row) -> Option<i64>,
) -> BTreeMap<String, Vec<Entry>> {
    let poison: HashSet<&String> =
        evidence.dead.iter().filter_map(|dead| dead.message_id.as_ref()).collect();
    let is_poison = |row: &Row| poison.contains(&row.id) && row.phone_number.is_empty();
    let mut passed: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
    for row in evidence.rows.iter().filter(|row| row.lane() == limit.lane && !is_poison(row)) {
        let phone = row.phone_number.as_str();
        let of = match limit.scope {
            Scope::Phone | Scope::PhoneAll => phone.to_owned(),
            Scope::PhonePurpose => {
                format!("{phone} {}", row.purpose.as_deref().unwrap_or_default())
            }
            Scope::Ip | Scope::AccountIp => row.client_ip.clone().unwrap_or_default(),
            Scope::Prefix => phone[..phone.len().saturating_sub(4)].to_owned(),
            Scope::Account | Scope::Global => String::new(),
        };
        let until = given_back(row).filter(|_| limit.scope.is_phone()).unwrap_or(i64::MAX);
        passed.entry(of).or_default().push((row.create_time, until));
    }
    passed
}

/// The most of `entries`, in order, that count within less than `window_ms` of each other when the last of them is let
/// through; of those before it, which it met, what is known counts.
fn fullest_window(entries: &[Entry], window_ms: i64, is_known: impl Fn(i64) -> bool) -> usize {
    let met = |(place, (last, _)): (usize, &Entry)| {
        let within = entries[..place].iter().rev().take_while(|(from, _)| last - from < window_ms);
        within.filter(|(from, until)| until > last && is_known(*from)).count()
    };
    entries.iter().enumerate().map(|last| met(last) + 1).max().unwrap_or_default()
}

#[cfg(test)]
fn for_good(times: &[i64]) -> Vec<Entry> {
    times.iter().map(|time| (*time, i64::MAX)).collect()
}

#[test]
fn a_send_exactly_a_window_later_is_in_another() {
    let fullest = |times: &[i64]| fullest_window(&for_good(times), 100, |_| true);
    assert_eq!(fullest(&[0, 10, 99]), 3);
    assert_eq!(fullest(&[0, 10, 100, 109]), 3);
    assert_eq!(fullest(&[]), 0);
}

#[test]
fn the_last_of_a_window_met_what_was_known_before_it() {
    let entries = for_good(&[0, 10, 20]);
    assert_eq!(fullest_window(&entries, 100, |time| time != 10), 2);
    assert_eq!(fullest_window(&entries, 100, |time| time != 20), 3);
}

#[test]
fn what_was_given_back_counts_for_what_came_before() {
    assert_eq!(fullest_window(&[(0, 30), (10, i64::MAX), (20, 25)], 100, |_| true), 3);
    assert_eq!(fullest_window(&[(0, 15), (10, i64::MAX), (20, 25)], 100, |_| true), 2);
}
