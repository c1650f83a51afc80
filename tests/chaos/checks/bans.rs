//! Bans: what was accepted in spite of them.

use super::super::evidence::{Ban, Evidence, Fate, Row};
use super::Wrong;
use super::messages::{APART_MS, e164};

/// No row was accepted from when a ban was told to be set until its lifting began. Every 202 has its row, and one of then
/// whose row was accepted before is an earlier message's: a repeat under its key, or one for a message in doubt.
pub(super) fn none_let_through(evidence: &Evidence) -> (String, Vec<Wrong>) {
    let mut wrong = Vec::new();
    for ban in &evidence.bans {
        let phone = e164(&ban.phone);
        let rows = evidence.rows.iter().filter(|row| row.phone_number == phone);
        wrong.extend(rows.filter(|row| is_banned(ban, row)).map(|row| Wrong {
            what: format!("{row:?} was accepted in spite of {ban:?}"),
            forgotten: evidence.may_forget((ban.asked, ban.told)),
        }));
    }
    let refused = evidence
        .sends
        .iter()
        .filter(|send| matches!(&send.fate, Fate::Refused(word) if word == "phone_blocked"))
        .count();
    (format!("{} bans, {refused} refused by them", evidence.bans.len()), wrong)
}

fn is_banned(ban: &Ban, row: &Row) -> bool {
    ban.told + APART_MS < row.create_time && row.create_time < ban.lifting - APART_MS
}
