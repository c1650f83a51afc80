//! What Redis may have forgotten when it failed over is excused and shown; and nothing else is.

use super::*;

type Spoil = fn(&mut Evidence);

fn failing_over((begun, ended): Span, spoil: Spoil) -> impl FnOnce(&mut Evidence) + Copy {
    move |e| {
        spoil(e);
        e.faults.push(Done { fault: Fault::FailOver, begun: T + begun, ended: T + ended });
    }
}

/// A failover of this window excuses what these checks find, and one of the other doesn't.
fn assert_excused(names: &[&str], window: Span, other: Span, spoil: Spoil) {
    assert_eq!(found(spoil), names);
    assert_eq!(found(failing_over(other, spoil)), names, "{other:?}");
    let none: [&str; 0] = [];
    assert_eq!(found(failing_over(window, spoil)), none, "{window:?}");
    let forgotten = |finding: &Finding| !finding.forgotten.is_empty();
    assert_eq!(named(failing_over(window, spoil), forgotten), names);
}

#[test]
fn a_key_that_was_forgotten_may_be_two_messages() {
    // The first answer's time is what counts.
    assert_excused(&[KEY], (-200, 300), (350, 800), |e| {
        let fate = Fate::Accepted { id: "notice".to_owned(), verification: None };
        let again = Send {
            lane: Lane::Notice,
            phone: "139".to_owned(),
            asked: T + 400,
            ended: T + 410,
            ..e.sends[0].clone()
        };
        e.sends.push(Send { fate, ..again.clone() });
        let first = Fate::Accepted { id: "refused".to_owned(), verification: None };
        e.sends[2] = Send { fate: first, asked: T - 10, ended: T + 10, ..again };
        e.rows[2].phone_number = "+86139".to_owned();
    });
}

#[test]
fn an_approval_and_a_try_that_were_forgotten_may_come_again() {
    assert_excused(&[APPROVED], (7_900, 8_100), (19_900, 20_100), |e| {
        e.checks.push(verdict(20, Verdict::Approved("v".to_owned())));
    });
    assert_excused(&[TRIES], (5_900, 6_100), (21_900, 22_100), |e| e.checks.push(mismatch(22, 4)));
}

#[test]
fn a_claim_that_was_forgotten_may_be_granted_again() {
    assert_excused(&[TWICE, COUNTS], (-200, 300), (4_900, 5_100), |e| {
        e.calls.push(call("notice", None, T + 5_000, true));
    });
    assert_excused(&[TWICE], (500, 2_000), (5_000, 6_000), |e| {
        // Nothing else explains it.
        e.faults[0].begun = T + 60_000;
    });
}

#[test]
fn what_a_limit_counted_and_forgot_may_be_let_through_once_more() {
    assert_excused(&[LIMITS], (-200, 300), (990, 1_010), |e| {
        e.rules.limits.retain(|limit| limit.scope == Scope::Account);
        for (id, phone) in [("refused", "136"), ("broken", "")] {
            e.rows.retain(|row| row.id != id);
            e.calls.retain(|call| call.id != id);
            e.attempts.retain(|attempt| attempt.message_id != id);
            e.sends.retain(|send| send.phone != phone);
        }
        e.poison.clear();
        e.dead.clear();
        for at in [900, 999] {
            let id = format!("at {at}");
            let sent = send(30, Lane::Notice, "137", accepted(&id, None));
            e.sends.push(Send { key: None, asked: T + at, ended: T + at, ..sent });
            e.rows.push(Row { create_time: T + at, ..row(&id, Lane::Notice, "137", SENT, 1) });
            e.attempts.push(attempt(&id, 1, "accepted", None));
            e.calls.push(call(&id, None, T + 2_000, true));
        }
    });
}

#[test]
fn a_ban_that_was_forgotten_lets_through() {
    // While it is in force it can't be.
    assert_excused(&[BANNED], (-100, -40), (-30, 1_000), |e| {
        e.rows[1].phone_number = "+86135".to_owned();
        e.sends[1].phone = "135".to_owned();
    });
}

#[test]
fn nothing_excuses_a_row_a_code_or_an_answer() {
    let always = (-1_000, 60_000);
    let spoilt: [(&str, Spoil); 9] = [
        (ROW, |e| drop(e.rows.remove(0))),
        (NOWHERE, |e| e.sends[1].fate = refused("store_unavailable")),
        (BELIED, |e| e.calls[2].carried = false),
        (BELIED, |e| e.calls.push(call("gone", None, T, true))),
        (SAME, |e| e.calls[1].code = Some("654321".to_owned())),
        (LATE, |e| e.calls[1].at = T + 6_400),
        (APPROVED, |e| e.checks[2].right = false),
        (TRIES, |e| e.checks.push(mismatch(22, 5))),
        (DEAD, |e| drop(e.dead.pop())),
    ];
    for (name, spoil) in spoilt {
        assert!(found(failing_over(always, spoil)).contains(&name), "{name}");
    }
}
