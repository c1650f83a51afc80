//! Limits: what was let through of each, window by window.

use std::collections::{BTreeMap, HashSet};

use super::super::evidence::{Evidence, FAILED, Fate, Limit, Row, Scope};

pub(super) fn none_exceeded(evidence: &Evidence) -> (String, Vec<String>) {
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
            let most = fullest_window(&times, limit.window_ms);
            fullest = fullest.max(most);
            if most > limit.quota {
                wrong.push(format!(
                    "{} {:?} {of}: {most} of {}",
                    limit.lane, limit.scope, limit.quota
                ));
            }
        }
        counted.push(format!("{} {:?} {fullest}/{}", limit.lane, limit.scope, limit.quota));
    }
    let refused = |word: &str| {
        evidence
            .sends
            .iter()
            .filter(|send| matches!(&send.fate, Fate::Refused(said) if said == word))
            .count()
    };
    let refusals = format!(
        "refused: {} phone, {} address, {} account",
        refused("phone_limited"),
        refused("ip_limited"),
        refused("account_limited")
    );
    (format!("fullest windows {}; {refusals}", counted.join(", ")), wrong)
}

/// When the messages that a limit counts were let through, by what it tells apart. The table's own rows, so also those
/// that no caller was told of.
fn passed(evidence: &Evidence, limit: &Limit, lost: &HashSet<&str>) -> BTreeMap<String, Vec<i64>> {
    let poison: HashSet<&String> =
        evidence.dead.iter().filter_map(|dead| dead.message_id.as_ref()).collect();
    let is_poison = |row: &Row| poison.contains(&row.id) && row.phone_number.is_empty();
    let given_back = |row: &Row| row.status == FAILED && !lost.contains(row.id.as_str());
    let mut passed: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for row in evidence.rows.iter().filter(|row| row.lane() == limit.lane && !is_poison(row)) {
        let of = match limit.scope {
            Scope::Phone if given_back(row) => continue,
            Scope::Phone => row.phone_number.clone(),
            Scope::Address => row.client_ip.clone().unwrap_or_default(),
            Scope::Account => String::new(),
        };
        passed.entry(of).or_default().push(row.create_time);
    }
    passed
}

/// The most of `times`, in order, that lie within less than `window_ms` of each other.
fn fullest_window(times: &[i64], window_ms: i64) -> usize {
    let mut first = 0;
    let mut most = 0;
    for (last, time) in times.iter().enumerate() {
        while time - times[first] >= window_ms {
            first += 1;
        }
        most = most.max(last - first + 1);
    }
    most
}

#[test]
fn a_send_exactly_a_window_later_is_in_another() {
    assert_eq!(fullest_window(&[0, 10, 99], 100), 3);
    assert_eq!(fullest_window(&[0, 10, 100, 109], 100), 3);
    assert_eq!(fullest_window(&[], 100), 0);
}
