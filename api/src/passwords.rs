//! Passwords and security answers: hashed with argon2id, a few at a time and a few more waiting, so that a flood of
//! log-ins takes neither the processors nor the memory that sends need.

use std::sync::Arc;

use argon2::password_hash::Error as HashError;
use argon2::{Argon2, PasswordHasher as _, PasswordVerifier as _};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::problem::{Code, Problem};

/// The fewest characters of a password: length alone makes it good (NIST SP 800-63B-4, section 3.1.1.2).
pub const SHORTEST: usize = 8;
/// The longest password, in bytes.
pub const LONGEST: usize = 256;

/// Hashes made at once at the most; each takes 19 MiB.
const MOST_AT_ONCE: usize = 4;
/// Hashes that wait for their turn at the most.
const MOST_WAITING: usize = 64;

/// Makes and checks hashes.
#[derive(Debug, Clone)]
pub struct Passwords {
    /// One for each that runs.
    turns: Arc<Semaphore>,
    /// One for each that runs or waits.
    places: Arc<Semaphore>,
}

/// A hash's place and turn, given back when it is made, also where nobody waits for it any more.
type Held = (OwnedSemaphorePermit, OwnedSemaphorePermit);

impl Passwords {
    /// Half of the processors at the most are taken.
    pub fn new() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self::with_turns((processors / 2).clamp(1, MOST_AT_ONCE))
    }

    fn with_turns(turns: usize) -> Self {
        Self {
            turns: Arc::new(Semaphore::new(turns)),
            places: Arc::new(Semaphore::new(turns + MOST_WAITING)),
        }
    }

    /// The hash of a secret with a salt of its own, as a PHC string.
    pub async fn hash(&self, secret: SecretString) -> Result<SecretString, Problem> {
        self.run(move || Ok(SecretString::from(hashed(&secret)?))).await
    }

    /// Whether a secret is the one that was hashed. Where there is no hash it isn't, and finding that out takes as long.
    pub async fn verify(
        &self,
        secret: SecretString,
        hash: Option<SecretString>,
    ) -> Result<bool, Problem> {
        self.run(move || {
            let Some(hash) = hash else { return hashed(&secret).map(|_| false) };
            let secret = secret.expose_secret().as_bytes();
            match Argon2::default().verify_password(secret, hash.expose_secret()) {
                Ok(()) => Ok(true),
                Err(HashError::PasswordInvalid) => Ok(false),
                Err(error) => Err(error),
            }
        })
        .await
    }

    /// `overloaded` where too many wait already.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, HashError> + Send + 'static,
    ) -> Result<T, Problem> {
        let held = self.turn().await?;
        let work = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(held);
            done
        });
        let done = work.await.map_err(|error| Problem::new(Code::Internal).because(&error))?;
        done.map_err(|error| Problem::new(Code::Internal).because(&error))
    }

    async fn turn(&self) -> Result<Held, Problem> {
        let overloaded =
            |_| Problem::new(Code::Overloaded).because(&"too many passwords wait to be hashed");
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(overloaded)?;
        let closed = |error| Problem::new(Code::Internal).because(&error);
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(closed)?;
        Ok((place, turn))
    }
}

impl Default for Passwords {
    fn default() -> Self {
        Self::new()
    }
}

/// The crate's default parameters: 19 MiB, two passes, one lane, as OWASP's Password Storage Cheat Sheet asks for.
fn hashed(secret: &SecretString) -> Result<String, HashError> {
    Ok(Argon2::default().hash_password(secret.expose_secret().as_bytes())?.to_string())
}

/// Why a text can't be a new password, if it can't.
pub fn problem(password: &SecretString) -> Option<String> {
    let text = password.expose_secret();
    let fine = text.chars().count() >= SHORTEST && text.len() <= LONGEST;
    (!fine).then(|| format!("has at least {SHORTEST} characters and at most {LONGEST} bytes"))
}

/// A security answer as it is hashed: how it is written at its ends and in which case doesn't matter.
pub fn answer(typed: &str) -> SecretString {
    SecretString::from(typed.trim().to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> SecretString {
        SecretString::from(text)
    }

    #[tokio::test]
    async fn a_hash_is_argon2id_with_a_salt_of_its_own() {
        let passwords = Passwords::new();
        let first = passwords.hash(secret("correct horse")).await.unwrap();
        let second = passwords.hash(secret("correct horse")).await.unwrap();
        let text = first.expose_secret();
        assert!(text.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{text}");
        assert!(text.len() <= 256, "the column's width");
        assert_ne!(text, second.expose_secret());
        let verify = async |text, hash| passwords.verify(secret(text), hash).await.unwrap();
        assert!(verify("correct horse", Some(first.clone())).await);
        assert!(verify("correct horse", Some(second)).await);
        assert!(!verify("correct horsf", Some(first)).await);
        assert!(!verify("correct horse", None).await);
    }

    #[tokio::test]
    async fn a_hash_nobody_can_read_is_our_failure() {
        let refused = Passwords::new().verify(secret("any"), Some(secret("broken"))).await;
        assert_eq!(refused.unwrap_err().code, Code::Internal);
    }

    #[tokio::test]
    async fn who_finds_no_place_is_told_at_once_and_places_come_back() {
        let passwords = Passwords::with_turns(1);
        let asked = 1 + MOST_WAITING + 20;
        let answers =
            futures::future::join_all((0..asked).map(|_| passwords.hash(secret("flood")))).await;
        let refused = answers.iter().filter_map(|answer| answer.as_ref().err());
        let refused: Vec<_> = refused.map(|problem| problem.code).collect();
        assert_eq!(refused, [Code::Overloaded; 20]);
        assert!(passwords.hash(secret("later")).await.is_ok());
    }

    #[tokio::test]
    async fn who_went_away_holds_no_place() {
        let passwords = Passwords::with_turns(1);
        let waiting: Vec<_> = (0..=MOST_WAITING)
            .map(|_| {
                let passwords = passwords.clone();
                tokio::spawn(async move { passwords.hash(secret("flood")).await })
            })
            .collect();
        while passwords.places.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        for task in &waiting {
            task.abort();
        }
        for task in waiting {
            drop(task.await);
        }
        assert!(passwords.hash(secret("later")).await.is_ok());
        assert_eq!(passwords.places.available_permits(), 1 + MOST_WAITING);
    }

    #[test]
    fn a_password_is_long_enough_and_no_more_is_asked_of_it() {
        let fine = |text: &str| problem(&secret(text)).is_none();
        assert!(fine("aaaaaaaa") && fine("八个字的密码就够") && fine("  spaces  "));
        assert!(fine(&"a".repeat(256)));
        assert!(!fine("aaaaaaa") && !fine("七个字的密码啊") && !fine(""));
        assert!(!fine(&"a".repeat(257)) && !fine(&"密".repeat(86)));
    }

    #[test]
    fn an_answer_is_the_same_however_it_is_written() {
        assert_eq!(answer("  Mr. Whiskers\n").expose_secret(), "mr. whiskers");
        assert_eq!(answer("ÄÖ").expose_secret(), answer("äö").expose_secret());
    }
}
