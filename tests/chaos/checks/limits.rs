//! Limits: what was let through of each, window by window.

use std::collections::{BTreeMap, HashSet};

use postrider_common::limits::Scope;

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
    let (mut wrong, mut counted) = (Vec::new(), Vec::new());
    for limit in &evidence.rules.limits {
        let mut fullest = 0;
        for (of, mut times) in passed(evidence, limit, &lost) {
            times.sort_unstable();
            let most = fullest_window(&times, limit.window_ms, |_| true);
            fullest = fullest.max(most);
            if most > limit.quota {
                let is_known = |at| !evidence.may_forget((at, at));
                wrong.push(Wrong {
                    what: format!(
                        "{} {:?} {of}: {most} of {}",
                        limit.lane, limit.scope, limit.quota
                    ),
                    forgotten: fullest_window(&times, limit.window_ms, is_known) <= limit.quota,
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

/// When the messages that a limit counts were let through, by what it tells apart; all are one account's. The table's own
/// rows, so also those that no caller was told of.
fn passed(evidence: &Evidence, limit: &Limit, lost: &HashSet<&str>) -> BTreeMap<String, Vec<i64>> {
    let poison: HashSet<&String> =
        evidence.dead.iter().filter_map(|dead| dead.message_id.as_ref()).collect();
    let is_poison = |row: &Row| poison.contains(&row.id) && row.phone_number.is_empty();
    let given_back = |row: &Row| row.status == FAILED && !lost.contains(row.id.as_str());
    let mut passed: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for row in evidence.rows.iter().filter(|row| row.lane() == limit.lane && !is_poison(row)) {
        let phone = row.phone_number.as_str();
        let of = match limit.scope {
            Scope::Phone | Scope::PhonePurpose | Scope::PhoneAll if given_back(row) => continue,
            Scope::Phone | Scope::PhoneAll => phone.to_owned(),
            Scope::PhonePurpose => {
                format!("{phone} {}", row.purpose.as_deref().unwrap_or_default())
            }
            Scope::Ip => row.client_ip.clone().unwrap_or_default(),
            Scope::Prefix => phone[..phone.len().saturating_sub(4)].to_owned(),
            Scope::Account | Scope::Global => String::new(),
        };
        passed.entry(of).or_default().push(row.create_time);
    }
    passed
}

/// The most of `times`, in order, that lie within less than `window_ms` of each other; of those before the last, which met
/// them, what is known counts.
fn fullest_window(times: &[i64], window_ms: i64, is_known: impl Fn(i64) -> bool) -> usize {
    let met = |(place, last): (usize, &i64)| {
        let within = times[..place].iter().rev().take_while(|time| *last - **time < window_ms);
        within.filter(|time| is_known(**time)).count()
    };
    times.iter().enumerate().map(|last| met(last) + 1).max().unwrap_or_default()
}

#[test]
fn a_send_exactly_a_window_later_is_in_another() {
    let fullest = |times: &[i64]| fullest_window(times, 100, |_| true);
    assert_eq!(fullest(&[0, 10, 99]), 3);
    assert_eq!(fullest(&[0, 10, 100, 109]), 3);
    assert_eq!(fullest(&[]), 0);
}

#[test]
fn the_last_of_a_window_met_what_was_known_before_it() {
    assert_eq!(fullest_window(&[0, 10, 20], 100, |time| time != 10), 2);
    assert_eq!(fullest_window(&[0, 10, 20], 100, |time| time != 20), 3);
}
