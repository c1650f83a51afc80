//! What must hold after a run: each check reads the evidence, says what it counted, and names what is wrong.

mod codes;
mod limits;
mod messages;
mod rest;
#[cfg(test)]
mod tests;

use std::fmt;

use super::evidence::Evidence;

/// What a check found.
#[derive(Debug)]
pub struct Finding {
    pub name: &'static str,
    /// What it looked at, in numbers.
    pub counted: String,
    /// Empty where it holds.
    pub wrong: Vec<String>,
}

type Checker = fn(&Evidence) -> (String, Vec<String>);

/// How much of what is wrong is shown.
const SHOWN: usize = 12;

pub const ROW: &str = "every 202 has exactly one row";
pub const NOWHERE: &str = "no row came from nowhere";
pub const KEY: &str = "a key is one message";
pub const TWICE: &str = "nothing was carried twice unless an answer was lost";
pub const COUNTS: &str = "counts add up";
pub const SAME: &str = "a code that is sent again is the same code";
pub const LATE: &str = "no code was carried after its deadline";
pub const APPROVED: &str = "no verification was approved twice";
pub const TRIES: &str = "no wrong try was forgiven";
pub const LIMITS: &str = "no limit was exceeded";
pub const DEAD: &str = "dead letters are exactly the poison";
pub const REST: &str = "nothing is left in a queue and all recovered";
pub const SEEN: &str = "answers are those that are allowed, and there was something to see";

const CHECKS: [(&str, Checker); 13] = [
    (ROW, messages::every_202_has_its_row),
    (NOWHERE, messages::no_row_from_nowhere),
    (KEY, messages::a_key_is_one_message),
    (TWICE, messages::carried_twice_only_in_doubt),
    (COUNTS, messages::counts_add_up),
    (SAME, codes::one_code),
    (LATE, codes::in_time),
    (APPROVED, codes::approved_once),
    (TRIES, codes::wrong_tries_count),
    (LIMITS, limits::none_exceeded),
    (DEAD, rest::dead_letters_are_the_poison),
    (REST, rest::at_rest),
    (SEEN, rest::something_to_see),
];

/// Every check's finding.
pub fn all(evidence: &Evidence) -> Vec<Finding> {
    let find = |(name, check): (&'static str, Checker)| {
        let (counted, wrong) = check(evidence);
        Finding { name, counted, wrong }
    };
    CHECKS.into_iter().map(find).collect()
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.wrong.is_empty() { "ok   " } else { "WRONG" };
        write!(f, "{word} {}: {}", self.name, self.counted)?;
        for wrong in self.wrong.iter().take(SHOWN) {
            write!(f, "\n        {wrong}")?;
        }
        if self.wrong.len() > SHOWN {
            write!(f, "\n        and {} more", self.wrong.len() - SHOWN)?;
        }
        Ok(())
    }
}
