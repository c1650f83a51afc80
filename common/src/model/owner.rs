//! Whose a message or a verification is: an account's live ones, or those of its test keys, which live apart.

use std::fmt;

/// One of the two worlds of an account. The store keeps them as one number: test ones are negative, so that nothing
/// of one is ever found under the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Owner {
    account_id: i64,
    test: bool,
}

impl Owner {
    #[must_use]
    pub fn new(account_id: i64, test: bool) -> Self {
        Self { account_id, test }
    }

    #[must_use]
    pub fn account_id(self) -> i64 {
        self.account_id
    }

    /// Whether it is what test keys send and check.
    #[must_use]
    pub fn is_test(self) -> bool {
        self.test
    }

    /// As the store knows it.
    #[must_use]
    pub fn store_id(self) -> i64 {
        if self.test { -self.account_id } else { self.account_id }
    }

    #[must_use]
    pub fn of_store_id(id: i64) -> Self {
        Self { account_id: id.abs(), test: id < 0 }
    }
}

/// As it stands in the store's keys.
impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.store_id().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_worlds_of_an_account_are_told_apart() {
        let (live, test) = (Owner::new(7, false), Owner::new(7, true));
        assert_eq!((live.store_id(), test.store_id()), (7, -7));
        for owner in [live, test] {
            assert_eq!(Owner::of_store_id(owner.store_id()), owner);
        }
        assert_eq!(format!("{live} {test}"), "7 -7");
    }
}
