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

const CHECKS: [(&str, Checker); 13] = [
    ("every 202 has exactly one row", messages::every_202_has_its_row),
    ("no row came from nowhere", messages::no_row_from_nowhere),
    ("a key is one message", messages::a_key_is_one_message),
    ("nothing was carried twice unless an answer was lost", messages::carried_twice_only_in_doubt),
    ("counts add up", messages::counts_add_up),
    ("a code that is sent again is the same code", codes::one_code),
    ("no code was carried after its deadline", codes::in_time),
    ("no verification was approved twice", codes::approved_once),
    ("no wrong try was forgiven", codes::wrong_tries_count),
    ("no limit was exceeded", limits::none_exceeded),
    ("dead letters are exactly the poison", rest::dead_letters_are_the_poison),
    ("nothing is left in a queue and all recovered", rest::at_rest),
    ("answers are those that are allowed, and there was something to see", rest::something_to_see),
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
