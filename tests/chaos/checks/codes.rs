//! Codes: the same again, in time, good once.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use postrider_common::model::job::Lane;

use super::super::evidence::{Evidence, Row, Span, Verdict};
use super::super::plan::{Damage, Fault, Program, Wire};
use super::{Wrong, first_of_each};

/// From the last look at the clock to the provider's own.
const ON_THE_WAY_MS: i64 = 300;
/// From the end of what held a call back to the provider's clock: a worker that goes on may have to connect first, for which
/// it has `CONNECT_TIMEOUT`.
const SET_FREE_MS: i64 = 1_000;

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

/// Whether the test itself held the call back over the deadline, in a worker that stood still just there or on the wire, and
/// its end set the call free. What ended before left the call time enough, and what began later came too late to hold one
/// that was in time. Which worker made a call isn't known: what befell either will do.
fn was_held(evidence: &Evidence, deadline: i64, at: i64) -> bool {
    // A wire that is slow is so by less than a call begins before its deadline.
    let holds = |fault| {
        matches!(
            fault,
            Fault::Pause(Program::Worker(_))
                | Fault::Flood
                | Fault::Wire(Wire::ToProviders(_), Damage::Silent)
        )
    };
    evidence.faults.iter().filter(|done| holds(done.fault)).any(|done| {
        done.begun <= deadline + ON_THE_WAY_MS
            && done.ended >= deadline - ON_THE_WAY_MS
            // Its end is noted once it is over.
            && (-ON_THE_WAY_MS..=SET_FREE_MS).contains(&(at - done.ended))
    })
}

pub(super) fn approved_once(evidence: &Evidence) -> (String, Vec<Wrong>) {
    let mut approvals: BTreeMap<&str, Vec<(String, Span)>> = BTreeMap::new();
    for check in &evidence.checks {
        if let Verdict::Approved(verification) = &check.verdict {
            // A repeat under its key is the same approval.
            let by = check.key.clone().unwrap_or_else(|| format!("step {}", check.step));
            let when = (check.asked, check.ended);
            approvals.entry(verification).or_default().push((by, when));
        }
    }
    let mut wrong: Vec<Wrong> = approvals
        .iter()
        .map(|(verification, by)| (verification, first_of_each(by.iter().cloned())))
        .filter(|(_, by)| by.len() > 1)
        .map(|(verification, by)| Wrong {
            what: format!("{verification} was approved of {by:?}"),
            forgotten: evidence.may_forget_all_before_the_last(by.into_values()),
        })
        .collect();
    let approved = evidence
        .checks
        .iter()
        .filter(|check| matches!(check.verdict, Verdict::Approved(_)) && !check.right);
    wrong.extend(approved.map(|check| Wrong {
        what: format!("a wrong code was approved: {check:?}"),
        forgotten: false,
    }));
    let used = evidence.checks.iter().filter(
        |check| matches!(&check.verdict, Verdict::Refused { word, .. } if word == "already_used"),
    );
    let counted = format!(
        "{} verifications approved in {} answers, {} told that they were used",
        approvals.len(),
        approvals.values().map(Vec::len).sum::<usize>(),
        used.count()
    );
    (counted, wrong)
}

/// Each wrong try leaves one less, and none is answered twice alike.
pub(super) fn wrong_tries_count(evidence: &Evidence) -> (String, Vec<Wrong>) {
    let mut tries: BTreeMap<(&str, i64), Vec<Span>> = BTreeMap::new();
    for check in &evidence.checks {
        if let (Some(verification), Verdict::Refused { attempts_left: Some(left), .. }) =
            (&check.verification, &check.verdict)
        {
            tries.entry((verification, *left)).or_default().push((check.asked, check.ended));
        }
    }
    let possible = 0..evidence.rules.max_attempts;
    let wrong = tries
        .iter()
        .filter(|((_, left), times)| times.len() > 1 || !possible.contains(left))
        .map(|((verification, left), times)| Wrong {
            what: format!("{verification} had {left} tries left at each of {times:?}"),
            forgotten: possible.contains(left)
                && evidence.may_forget_all_before_the_last(times.iter().copied()),
        })
        .collect();
    let verifications: BTreeSet<&str> =
        tries.keys().map(|(verification, _)| *verification).collect();
    let all: usize = tries.values().map(Vec::len).sum();
    (format!("{all} wrong tries at {} verifications", verifications.len()), wrong)
}
