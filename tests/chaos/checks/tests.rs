//! Each check fails where the evidence is wrong: right evidence passes all of them, and is then spoilt in one place.

mod forgotten;
mod limits;

use std::time::Duration;

use postrider_common::model::job::Lane;
use postrider_common::model::limits::Scope;

use super::super::evidence::{
    Attempt, Ban, Call, Check, Dead, Done, Evidence, FAILED, Fate, Limit, Poison, Row, Rules, SENT,
    Send, Span, Verdict,
};
use super::super::plan::{Damage, Fault, Program, Service, Wire};
use super::{
    APPROVED, BANNED, BELIED, COUNTS, DEAD, Finding, KEY, LATE, LIMITS, NOWHERE, REST, ROW, SAME,
    SEEN, TRIES, TWICE, all,
};

const T: i64 = 1_000_000;

fn send(step: usize, lane: Lane, phone: &str, fate: Fate) -> Send {
    let (asked, ended) = (T - 10, T + 10);
    Send { step, lane, phone: phone.to_owned(), key: Some(format!("k{step}")), asked, ended, fate }
}

fn accepted(id: &str, verification: Option<&str>) -> Fate {
    Fate::Accepted { id: id.to_owned(), verification: verification.map(str::to_owned) }
}

fn row(id: &str, lane: Lane, phone: &str, status: i32, attempts: i32) -> Row {
    Row {
        id: id.to_owned(),
        verification_id: (lane == Lane::Code).then(|| "v".to_owned()),
        kind: lane.row_type(),
        phone_number: format!("+86{phone}"),
        purpose: (lane == Lane::Code).then(|| "login".to_owned()),
        client_ip: None,
        attempts,
        status,
        error_code: None,
        create_time: T,
    }
}

fn attempt(id: &str, number: i32, outcome: &str, error_code: Option<&str>) -> Attempt {
    Attempt {
        message_id: id.to_owned(),
        number,
        outcome: outcome.to_owned(),
        at: T + 100,
        duration_ms: 1_000,
        error_code: error_code.map(str::to_owned),
    }
}

fn call(id: &str, code: Option<&str>, at: i64, carried: bool) -> Call {
    Call { id: id.to_owned(), code: code.map(str::to_owned), at, carried, answered: true }
}

/// One a second, in the order of the steps.
fn verdict(step: usize, verdict: Verdict) -> Check {
    let asked = T + 1_000 * i64::try_from(step).unwrap();
    let verification = Some("v".to_owned());
    Check { step, key: None, verification, right: true, asked, ended: asked + 10, verdict }
}

fn mismatch(step: usize, left: i64) -> Check {
    let refused = Verdict::Refused { word: "code_mismatch".to_owned(), attempts_left: Some(left) };
    Check { right: false, ..verdict(step, refused) }
}

fn refused(word: &str) -> Fate {
    Fate::Refused(word.to_owned())
}

/// A code that was sent, sent again after its answer was lost in time, and approved; a notice that nobody was told of;
/// one that providers refused; and two of poison.
fn right() -> Evidence {
    let fault = Fault::Kill(Program::Worker(0));
    let limit = |lane, scope| Limit { lane, scope, quota: 2, window_ms: 1_000 };
    let mut evidence = Evidence {
        sends: vec![
            send(1, Lane::Code, "138", accepted("code", Some("v"))),
            send(2, Lane::Notice, "139", Fate::Doubtful("no answer".to_owned())),
            send(3, Lane::Notice, "136", accepted("refused", None)),
            send(4, Lane::Code, "138", refused("phone_limited")),
            send(5, Lane::Code, "138", refused("overloaded")),
            send(6, Lane::Notice, "135", refused("phone_blocked")),
        ],
        checks: vec![
            mismatch(6, 4),
            mismatch(7, 3),
            verdict(8, Verdict::Approved("v".to_owned())),
            verdict(9, Verdict::Refused { word: "already_used".to_owned(), attempts_left: None }),
        ],
        calls: vec![
            call("code", Some("123456"), T + 100, true),
            call("code", Some("123456"), T + 2_000, true),
            call("notice", None, T + 100, true),
            call("refused", None, T + 100, false),
        ],
        rows: vec![
            row("code", Lane::Code, "138", SENT, 2),
            row("notice", Lane::Notice, "139", SENT, 1),
            Row {
                error_code: Some("isv.MOBILE_NUMBER_ILLEGAL".to_owned()),
                ..row("refused", Lane::Notice, "136", FAILED, 1)
            },
            Row { phone_number: String::new(), ..row("broken", Lane::Notice, "", FAILED, 0) },
        ],
        attempts: vec![
            attempt("code", 1, "unknown", Some("interrupted")),
            attempt("code", 2, "accepted", None),
            attempt("notice", 1, "accepted", None),
            attempt("refused", 1, "refused", Some("isv.MOBILE_NUMBER_ILLEGAL")),
        ],
        faults: vec![
            Done { fault, begun: T + 500, ended: T + 600 },
            Done { fault: Fault::Flood, begun: T + 20_000, ended: T + 23_000 },
        ],
        rules: Rules {
            limits: vec![
                limit(Lane::Code, Scope::Phone),
                limit(Lane::Code, Scope::Ip),
                limit(Lane::Notice, Scope::Phone),
                Limit { quota: 2, ..limit(Lane::Notice, Scope::Account) },
            ],
            code_lives_ms: [("login".to_owned(), 6_000)].into(),
            max_attempts: 5,
            read_timeout_ms: 1_000,
            recovery_ms: 30_000,
        },
        bans: vec![Ban {
            phone: "135".to_owned(),
            asked: T - 60,
            told: T - 50,
            lifting: T + 2_000,
        }],
        recovered: [("API".to_owned(), Some(300))].into(),
        drained: Some(7_000),
        ..Evidence::default()
    };
    evidence.poison.insert("sha256.1".to_owned(), Poison::Garbage);
    evidence.poison.insert("broken.0".to_owned(), Poison::BrokenJob("broken".to_owned()));
    for (id, message, reason) in [
        ("sha256.1", None, "undecodable"),
        ("broken.0", Some("broken"), "undecodable"),
        ("refused.0", Some("refused"), "refused"),
    ] {
        let message_id = message.map(str::to_owned);
        evidence.dead.push(Dead { id: id.to_owned(), message_id, reason: reason.to_owned() });
    }
    evidence
}

/// The names of the checks that find something once the evidence is spoilt.
fn found(spoil: impl FnOnce(&mut Evidence)) -> Vec<&'static str> {
    named(spoil, |finding| !finding.wrong.is_empty())
}

/// The names of the checks of whose findings that is so once the evidence is spoilt.
fn named(spoil: impl FnOnce(&mut Evidence), is_so: impl Fn(&Finding) -> bool) -> Vec<&'static str> {
    let mut evidence = right();
    spoil(&mut evidence);
    all(&evidence).into_iter().filter(is_so).map(|finding| finding.name).collect()
}

#[test]
fn right_evidence_passes_every_check() {
    let none: Vec<&str> = Vec::new();
    assert_eq!(found(|_| {}), none, "{:#?}", all(&right()));
}

#[test]
fn a_missing_row_a_second_one_and_another_s_are_found() {
    assert!(found(|e| drop(e.rows.remove(0))).contains(&ROW));
    assert!(found(|e| e.rows.push(e.rows[0].clone())).contains(&ROW));
    assert!(found(|e| e.rows[0].phone_number = "+86137".to_owned()).contains(&ROW));
}

#[test]
fn a_row_that_nobody_asked_for_is_found() {
    assert!(
        found(|e| e.rows.push(row("other", Lane::Notice, "139", SENT, 1))).contains(&NOWHERE),
        "one doubt, one row"
    );
    assert_eq!(found(|e| e.sends[1].fate = refused("store_unavailable")), [NOWHERE]);
    assert_eq!(found(|e| e.rows[1].create_time = T + 50), [NOWHERE], "nobody was asking then");
    assert_eq!(found(|e| e.sends[1].lane = Lane::Code), [NOWHERE]);
}

#[test]
fn a_key_that_is_two_messages_is_found() {
    let again = |e: &mut Evidence| {
        let repeat = Send { fate: accepted("notice", None), ..e.sends[0].clone() };
        e.sends.push(repeat);
    };
    assert!(found(again).contains(&KEY));
}

#[test]
fn a_second_carry_without_a_lost_answer_is_found() {
    assert!(found(|e| e.calls.push(call("notice", None, T + 200, true))).contains(&TWICE));
    assert!(
        found(|e| e.calls.push(call("code", Some("123456"), T + 2_100, true))).contains(&TWICE)
    );
    assert_eq!(
        found(|e| e.faults[0].begun = T + 60_000),
        [TWICE],
        "nothing explains the lost answer"
    );
    let timed_out = |e: &mut Evidence| {
        e.attempts[0].error_code = Some("timeout".to_owned());
        e.attempts[0].duration_ms = 200;
    };
    assert_eq!(found(timed_out), [TWICE], "that was no time-out");
    assert_eq!(found(|e| e.attempts[0].error_code = Some("broken_answer".to_owned())), [TWICE]);
    let dropped = |e: &mut Evidence| {
        e.attempts[0].error_code = Some("broken_answer".to_owned());
        e.calls[0].answered = false;
    };
    assert!(found(dropped).is_empty(), "the provider dropped it");
}

#[test]
fn counts_that_don_t_add_up_are_found() {
    assert!(found(|e| drop(e.attempts.pop())).contains(&COUNTS));
    assert!(found(|e| e.attempts[1].number = 3).contains(&COUNTS));
    assert_eq!(found(|e| e.calls.push(call("refused", None, T + 200, false))), [COUNTS]);
    assert_eq!(found(|e| e.attempts[2].outcome = "later".to_owned()), [COUNTS]);
}

#[test]
fn a_row_that_is_belied_is_found() {
    let failed = |e: &mut Evidence| {
        e.rows[1].status = FAILED;
        e.attempts[2].outcome = "later".to_owned();
    };
    assert_eq!(found(failed), [BELIED], "it was carried");
    assert_eq!(found(|e| e.calls[2].carried = false), [BELIED], "it says sent");
    assert_eq!(found(|e| e.attempts[3].outcome = "accepted".to_owned()), [BELIED]);
    let in_doubt = |e: &mut Evidence| {
        e.attempts[3].outcome = "unknown".to_owned();
        e.attempts[3].error_code = Some("timeout".to_owned());
    };
    assert_eq!(found(in_doubt), [BELIED], "nobody knows");
    assert_eq!(found(|e| e.calls.push(call("gone", None, T, true))), [BELIED]);
    assert_eq!(found(|e| e.attempts.push(attempt("gone", 1, "accepted", None))), [BELIED]);
}

#[test]
fn another_code_for_the_same_verification_is_found() {
    assert_eq!(found(|e| e.calls[1].code = Some("654321".to_owned())), [SAME]);
    assert!(
        found(|e| e.calls[2].code = Some("123456".to_owned())).contains(&SAME),
        "a notice has none"
    );
}

#[test]
fn a_late_code_is_found_unless_it_was_held_back() {
    assert_eq!(found(|e| e.calls[1].at = T + 6_400), [LATE]);
    let silent = Fault::Wire(Wire::ToProviders(0), Damage::Silent);
    let held = |fault, begun, ended, at| {
        found(|e| {
            e.calls[1].at = T + at;
            e.faults.push(Done { fault, begun: T + begun, ended: T + ended });
        })
    };
    let none: [&str; 0] = [];
    for fault in [silent, Fault::Pause(Program::Worker(1)), Fault::Flood] {
        assert_eq!(held(fault, 5_000, 7_900, 8_000), none, "{fault:?}");
    }
    assert_eq!(held(silent, 5_000, 5_700, 6_400), none, "it was there until just before");
    assert_eq!(held(silent, 4_000, 5_699, 6_400), [LATE], "it had time enough");
    assert_eq!(held(silent, 4_000, 4_900, 6_400), [LATE], "it was free long before");
    assert_eq!(held(silent, 6_301, 7_900, 8_000), [LATE], "the deadline had passed before");
    assert_eq!(held(silent, 5_000, 6_999, 8_000), [LATE], "it was free for a second");
    assert_eq!(held(silent, 5_000, 9_000, 8_000), [LATE], "what is held doesn't come");
    let slow = Damage::Late(Duration::from_millis(200));
    for other in [Fault::Wire(Wire::ToProviders(0), slow), Fault::Kill(Program::Worker(0))] {
        assert_eq!(held(other, 5_000, 7_900, 8_000), [LATE], "{other:?} holds nothing so long");
    }
}

#[test]
fn a_second_approval_and_one_of_a_wrong_code_are_found() {
    assert_eq!(
        found(|e| e.checks.push(verdict(20, Verdict::Approved("v".to_owned())))),
        [APPROVED]
    );
    assert_eq!(found(|e| e.checks[2].right = false), [APPROVED]);
    let repeated = |e: &mut Evidence| {
        e.checks[2].key = Some("k".to_owned());
        e.checks.push(Check { step: 21, ..e.checks[2].clone() });
    };
    assert!(found(repeated).is_empty(), "a repeat under its key is the same approval");
}

#[test]
fn a_wrong_try_that_wasn_t_counted_is_found() {
    assert_eq!(found(|e| e.checks.push(mismatch(22, 3))), [TRIES]);
    assert_eq!(found(|e| e.checks.push(mismatch(22, 5))), [TRIES]);
}

#[test]
fn a_dead_letter_too_many_and_one_too_few_are_found() {
    assert_eq!(found(|e| drop(e.dead.pop())), [DEAD]);
    assert_eq!(found(|e| e.dead[0].reason = "panicked".to_owned()), [DEAD]);
    let well = |e: &mut Evidence| {
        let (id, reason) = ("code.0".to_owned(), "never_reached".to_owned());
        e.dead.push(Dead { id, message_id: Some("code".to_owned()), reason });
    };
    assert_eq!(found(well), [DEAD]);
}

#[test]
fn what_is_left_in_a_queue_and_what_recovered_late_are_found() {
    assert_eq!(found(|e| e.left.extend([("sms.rows".to_owned(), 1)])), [REST]);
    assert_eq!(found(|e| e.recovered.extend([("worker".to_owned(), Some(30_001))])), [REST]);
    assert_eq!(found(|e| e.drained = None), [REST]);
}

#[test]
fn an_answer_that_nobody_allowed_and_a_run_that_shows_nothing_are_found() {
    assert_eq!(found(|e| e.sends[3].fate = refused("internal")), [SEEN]);
    assert_eq!(
        found(|e| e.sends[4].fate = refused("store_unavailable")),
        [SEEN],
        "the queue was never full"
    );
    let away = |e: &mut Evidence| {
        e.sends[4].fate = refused("queue_unavailable");
        let fault = Fault::KillService(Service::RabbitMq);
        e.faults.push(Done { fault, begun: T + 15_000, ended: T + 21_000 });
    };
    assert!(found(away).is_empty(), "there was no queue to be full");
    let other = Fault::PauseService(Service::Redis);
    assert!(found(|e| e.faults[0].fault = other).is_empty());
    assert!(found(|e| e.faults.clear()).contains(&SEEN));
    assert_eq!(found(|e| drop(e.sends.pop())), [SEEN], "no ban refused anything");
}
