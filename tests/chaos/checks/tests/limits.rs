//! Limits and bans: what was let through too much is found, and nothing else.

use super::*;

#[test]
fn an_exceeded_limit_is_found() {
    let third = |e: &mut Evidence| {
        for id in ["second", "third"] {
            e.rows.push(Row { create_time: T + 999, ..row(id, Lane::Notice, "139", SENT, 1) });
        }
    };
    assert!(found(third).contains(&LIMITS));
    let given_back = |e: &mut Evidence| {
        e.rules.limits.pop();
        for id in ["second", "third"] {
            e.rows.push(Row { create_time: T + 999, ..row(id, Lane::Notice, "139", FAILED, 1) });
        }
    };
    assert!(!found(given_back).contains(&LIMITS), "what surely wasn't sent is given back");
    let later = |e: &mut Evidence| {
        e.rows.push(Row { create_time: T + 999, ..row("second", Lane::Notice, "139", SENT, 1) });
        e.rows.push(Row { create_time: T + 1_000, ..row("third", Lane::Notice, "139", SENT, 1) });
    };
    assert!(
        found(|e| {
            e.rules.limits.pop();
            later(e);
        })
        .iter()
        .all(|name| *name != LIMITS)
    );
}

#[test]
fn each_limit_counts_what_it_is_of() {
    let exceeded = |scope, other: fn(&mut Row)| {
        let names = found(|e| {
            let limit = Limit { lane: Lane::Code, scope, quota: 1, window_ms: 1_000 };
            e.rules.limits = vec![limit];
            e.rows[0].phone_number = "+8613800000001".to_owned();
            let mut row = Row { id: "other".to_owned(), ..e.rows[0].clone() };
            other(&mut row);
            e.rows.push(row);
        });
        names.contains(&LIMITS)
    };
    let another_purpose = |row: &mut Row| row.purpose = Some("register".to_owned());
    let another_phone = |row: &mut Row| row.phone_number = "+8613800000002".to_owned();
    let another_prefix = |row: &mut Row| row.phone_number = "+8613800010001".to_owned();
    let unsent = |row: &mut Row| row.status = FAILED;
    let a_notice = |row: &mut Row| row.kind = Lane::Notice.row_type();
    for scope in [Scope::PhonePurpose, Scope::PhoneAll, Scope::Prefix, Scope::Global] {
        assert!(exceeded(scope, |_| {}), "{scope:?}");
        assert!(!exceeded(scope, a_notice), "{scope:?}");
        let is_phone = matches!(scope, Scope::PhonePurpose | Scope::PhoneAll);
        assert_eq!(exceeded(scope, unsent), !is_phone, "{scope:?} is given back");
        assert_eq!(exceeded(scope, another_phone), !is_phone, "{scope:?}");
        assert_eq!(exceeded(scope, another_purpose), scope != Scope::PhonePurpose, "{scope:?}");
        assert_eq!(exceeded(scope, another_prefix), scope == Scope::Global, "{scope:?}");
    }
}

#[test]
fn what_was_accepted_in_spite_of_a_ban_is_found() {
    let accepted_at = |at| {
        let names = found(|e| {
            e.rows[1].phone_number = "+86135".to_owned();
            e.rows[1].create_time = T + at;
        });
        names.contains(&BANNED)
    };
    assert!(accepted_at(-40) && accepted_at(0) && accepted_at(1_990));
    assert!(!accepted_at(-48) && !accepted_at(1_996), "clocks are read apart");
    assert!(!accepted_at(-1_000) && !accepted_at(3_000), "before, and after");
}
