//! Codes: the same again, in time, good once.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use postrider_common::job::Lane;

use super::super::evidence::{Evidence, Row, Verdict};
use super::super::plan::{Damage, Fault, Program, Wire};

/// From the last look at the clock to the provider's own.
const ON_THE_WAY_MS: i64 = 300;

pub(super) fn one_code(evidence: &Evidence) -> (String, Vec<String>) {
    let rows: HashMap<&str, &Row> =
        evidence.rows.iter().map(|row| (row.id.as_str(), row)).collect();
    let mut codes: BTreeMap<&str, (BTreeSet<&str>, usize)> = BTreeMap::new();
    let mut wrong = Vec::new();
    for call in &evidence.calls {
        let Some(row) = rows.get(call.id.as_str()) else { continue };
        match (&call.code, &row.verification_id) {
            (Some(code), Some(verification)) => {
                let (codes, texts) = codes.entry(verification).or_default();
                codes.insert(code);
                *texts += 1;
            }
            (None, None) => {}
            other => wrong
                .push(format!("a code without a verification, or the reverse: {other:?} {row:?}")),
        }
    }
    let again = codes.values().filter(|(_, texts)| *texts > 1).count();
    wrong.extend(codes.iter().filter(|(_, (codes, _))| codes.len() > 1).map(
        |(verification, (codes, _))| {
            // They are spent by now.
            format!("verification {verification} was texted as {codes:?}")
        },
    ));
    (format!("{} verifications texted, {again} more than once", codes.len()), wrong)
}

pub(super) fn in_time(evidence: &Evidence) -> (String, Vec<String>) {
    let accepted: HashMap<&str, &Row> = evidence
        .rows
        .iter()
        .filter(|row| row.lane() == Lane::Code)
        .map(|row| (row.id.as_str(), row))
        .collect();
    let (mut wrong, mut carried, mut held, mut latest) = (Vec::new(), 0, 0, i64::MIN);
    for call in evidence.calls.iter().filter(|call| call.carried && call.code.is_some()) {
        let Some(row) = accepted.get(call.id.as_str()) else { continue };
        carried += 1;
        let lives =
            row.purpose.as_ref().and_then(|purpose| evidence.rules.code_lives_ms.get(purpose));
        let Some(lives) = lives else {
            wrong.push(format!("nobody asked for such a code: {row:?}"));
            continue;
        };
        let deadline = row.create_time + lives;
        if call.at <= deadline + ON_THE_WAY_MS {
            latest = latest.max(call.at - deadline);
        } else if was_held(evidence, deadline, call.at) {
            held += 1;
        } else {
            wrong.push(format!("{} ms after its deadline: {call:?}", call.at - deadline));
        }
    }
    let expired =
        evidence.rows.iter().filter(|row| row.error_code.as_deref() == Some("expired")).count();
    let counted = format!(
        "{carried} codes carried, the latest {latest} ms after its deadline, {held} held back on the way by this test; \
         {expired} messages expired"
    );
    (counted, wrong)
}

/// Whether the test itself held the call back over the deadline, in a worker that stood still just there or on the wire.
fn was_held(evidence: &Evidence, deadline: i64, at: i64) -> bool {
    let (from, to) = (deadline + ON_THE_WAY_MS, at - 1_500);
    let over_the_deadline = |fault| {
        matches!(
            fault,
            Fault::Pause(Program::Worker(_))
                | Fault::Flood
                | Fault::Wire(Wire::ToProviders(_), Damage::Silent | Damage::Late(_))
        )
    };
    evidence
        .faults
        .iter()
        .any(|done| over_the_deadline(done.fault) && done.begun <= from && done.ended >= to)
}

pub(super) fn approved_once(evidence: &Evidence) -> (String, Vec<String>) {
    // A repeat under its key is the same approval.
    let mut approvals: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    let mut answers = 0;
    for check in &evidence.checks {
        if let Verdict::Approved(verification) = &check.verdict {
            answers += 1;
            let by = check.key.clone().unwrap_or_else(|| format!("step {}", check.step));
            approvals.entry(verification).or_default().insert(by);
        }
    }
    let mut wrong: Vec<String> = approvals
        .iter()
        .filter(|(_, by)| by.len() > 1)
        .map(|(verification, by)| format!("{verification} was approved of {by:?}"))
        .collect();
    let approved = evidence
        .checks
        .iter()
        .filter(|check| matches!(check.verdict, Verdict::Approved(_)) && !check.right);
    wrong.extend(approved.map(|check| format!("a wrong code was approved: {check:?}")));
    let used = evidence.checks.iter().filter(
        |check| matches!(&check.verdict, Verdict::Refused { word, .. } if word == "already_used"),
    );
    let counted = format!(
        "{} verifications approved in {answers} answers, {} told that they were used",
        approvals.len(),
        used.count()
    );
    (counted, wrong)
}

/// Each wrong try leaves one less, and none is answered twice alike.
pub(super) fn wrong_tries_count(evidence: &Evidence) -> (String, Vec<String>) {
    let mut left: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
    for check in &evidence.checks {
        if let (Some(verification), Verdict::Refused { attempts_left: Some(attempts), .. }) =
            (&check.verification, &check.verdict)
        {
            left.entry(verification).or_default().push(*attempts);
        }
    }
    let tries: usize = left.values().map(Vec::len).sum();
    let is_wrong = |attempts: &Vec<i64>| {
        let distinct: BTreeSet<i64> = attempts.iter().copied().collect();
        distinct.len() != attempts.len()
            || distinct.iter().any(|left| !(0..evidence.rules.max_attempts).contains(left))
    };
    let wrong = left
        .iter()
        .filter(|(_, attempts)| is_wrong(attempts))
        .map(|(verification, attempts)| {
            format!("{verification} had these attempts left: {attempts:?}")
        })
        .collect();
    (format!("{tries} wrong tries at {} verifications", left.len()), wrong)
}
