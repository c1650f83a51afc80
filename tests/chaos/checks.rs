//! What must hold after a run: each check reads the evidence, says what it counted, and names what is wrong.

mod bans;
mod codes;
mod limits;
mod messages;
mod rest;
mod rows;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use super::evidence::{Evidence, Span};

/// What a check found.
#[derive(Debug)]
pub struct Finding {
    pub name: &'static str,
    /// What it looked at, in numbers.
    pub counted: String,
    /// Empty where it holds.
    pub wrong: Vec<String>,
    /// What is wrong because Redis forgot, when it failed over, what it was told last. That may be.
    pub forgotten: Vec<String>,
}

/// Something that is wrong, and whether Redis may have forgotten what would have prevented it.
struct Wrong {
    what: String,
    forgotten: bool,
}

enum Checker {
    /// Of rows, codes, deadlines, dead letters and queues: what is told of them comes from the job, which is on the broker's
    /// disk, and from the provider's answer. Nothing excuses an error.
    Always(fn(&Evidence) -> (String, Vec<String>)),
    /// Of what Redis alone knows. What it was told between its replica's lagging and its end is gone, whoever was answered,
    /// and it decides anew: about a key, a limit, a ban, a try, an approval, and about who calls a provider. An error for
    /// which nothing of then can be missing is one as anywhere.
    UnlessForgotten(fn(&Evidence) -> (String, Vec<Wrong>)),
}

use Checker::{Always, UnlessForgotten};

/// How much of what is wrong is shown.
const SHOWN: usize = 12;

pub const ROW: &str = "every 202 has exactly one row";
pub const NOWHERE: &str = "no row came from nowhere";
pub const KEY: &str = "a key is one message";
pub const TWICE: &str = "nothing was carried twice unless an answer was lost";
pub const BELIED: &str = "rows say what became of their messages";
pub const COUNTS: &str = "counts add up";
pub const SAME: &str = "a code that is sent again is the same code";
pub const LATE: &str = "no code was carried after its deadline";
pub const APPROVED: &str = "no verification was approved twice";
pub const TRIES: &str = "no wrong try was forgiven";
pub const LIMITS: &str = "no limit was exceeded";
pub const BANNED: &str = "no message to a banned phone was accepted";
pub const DEAD: &str = "dead letters are exactly the poison";
pub const REST: &str = "nothing is left in a queue and all recovered";
pub const SEEN: &str = "answers are those that are allowed, and there was something to see";

const CHECKS: [(&str, Checker); 15] = [
    (ROW, Always(messages::every_202_has_its_row)),
    (NOWHERE, Always(messages::no_row_from_nowhere)),
    (KEY, UnlessForgotten(messages::a_key_is_one_message)),
    (TWICE, UnlessForgotten(messages::carried_twice_only_in_doubt)),
    (BELIED, Always(rows::are_not_belied)),
    (COUNTS, UnlessForgotten(rows::add_up)),
    (SAME, Always(codes::one_code)),
    (LATE, Always(codes::in_time)),
    (APPROVED, UnlessForgotten(codes::approved_once)),
    (TRIES, UnlessForgotten(codes::wrong_tries_count)),
    (LIMITS, UnlessForgotten(limits::none_exceeded)),
    (BANNED, UnlessForgotten(bans::none_let_through)),
    (DEAD, Always(rest::dead_letters_are_the_poison)),
    (REST, Always(rest::at_rest)),
    (SEEN, Always(rest::something_to_see)),
];

/// Every check's finding.
pub fn all(evidence: &Evidence) -> Vec<Finding> {
    CHECKS.into_iter().map(|(name, checker)| checker.find(name, evidence)).collect()
}

impl Checker {
    fn find(self, name: &'static str, evidence: &Evidence) -> Finding {
        match self {
            Always(check) => {
                let (counted, wrong) = check(evidence);
                Finding { name, counted, wrong, forgotten: Vec::new() }
            }
            UnlessForgotten(check) => {
                let (counted, all) = check(evidence);
                let (forgotten, wrong): (Vec<_>, Vec<_>) =
                    all.into_iter().partition(|wrong| wrong.forgotten);
                let what = |all: Vec<Wrong>| all.into_iter().map(|wrong| wrong.what).collect();
                Finding { name, counted, wrong: what(wrong), forgotten: what(forgotten) }
            }
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.wrong.is_empty() { "ok   " } else { "WRONG" };
        write!(f, "{word} {}: {}", self.name, self.counted)?;
        list(f, &self.wrong)?;
        if !self.forgotten.is_empty() {
            let times = self.forgotten.len();
            write!(f, "\n      {times} times by what Redis forgot when it failed over:")?;
        }
        list(f, &self.forgotten)
    }
}

fn list(f: &mut fmt::Formatter<'_>, wrong: &[String]) -> fmt::Result {
    for wrong in wrong.iter().take(SHOWN) {
        write!(f, "\n        {wrong}")?;
    }
    if wrong.len() > SHOWN {
        write!(f, "\n        and {} more", wrong.len() - SHOWN)?;
    }
    Ok(())
}

/// When each was first.
fn first_of_each<T: Ord>(answers: impl IntoIterator<Item = (T, Span)>) -> BTreeMap<T, Span> {
    let mut first: BTreeMap<T, Span> = BTreeMap::new();
    for (answer, when) in answers {
        first.entry(answer).and_modify(|first| *first = when.min(*first)).or_insert(when);
    }
    first
}
