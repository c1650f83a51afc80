//! Passwords and security answers: hashed with argon2id, a few at a time, behind all else, and a few more waiting, so that
//! a flood of log-ins takes neither the processors nor the memory that sends need.

use std::sync::Arc;
use std::time::Duration;

use argon2::password_hash::Error as HashError;
use argon2::{Argon2, PasswordHasher as _, PasswordVerifier as _};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::timeout;

use crate::http::problem::{Code, Problem};

/// The fewest characters of a password: length alone makes it good (NIST SP 800-63B-4, section 3.1.1.2).
pub const SHORTEST: usize = 8;
/// The longest password, in bytes.
pub const LONGEST: usize = 256;

/// Hashes made at once at the most; each takes 19 MiB.
const MOST_AT_ONCE: usize = 4;
/// Hashes that wait for their turn at the most.
const MOST_WAITING: usize = 64;
/// How long one waits for its turn at the most: well below a request's time, so that its try is given back.
const LONGEST_WAIT: Duration = Duration::from_secs(4);

/// A tenth of the share of a thread of the usual priority: less gives sends nothing more, and a machine that is full would
/// hash nothing at all.
#[cfg(target_os = "linux")]
const NICE: i32 = 10;

/// Makes and checks hashes.
#[derive(Debug, Clone)]
pub struct Passwords {
    /// One for each that runs.
    turns: Arc<Semaphore>,
    /// One for each that runs or waits.
    places: Arc<Semaphore>,
    longest_wait: Duration,
}

/// A hash's place and turn, given back when it is made, also where nobody waits for it any more.
type Held = (OwnedSemaphorePermit, OwnedSemaphorePermit);

impl Passwords {
    /// A quarter of the processors at the most is taken.
    pub fn new() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self::with((processors / 4).clamp(1, MOST_AT_ONCE), LONGEST_WAIT)
    }

    fn with(turns: usize, longest_wait: Duration) -> Self {
        Self {
            turns: Arc::new(Semaphore::new(turns)),
            places: Arc::new(Semaphore::new(turns + MOST_WAITING)),
            longest_wait,
        }
    }

    /// Refuses with `overloaded` where a hash would find no place now, before anything else is done for it.
    pub fn has_place(&self) -> Result<(), Problem> {
        if self.places.available_permits() > 0 { Ok(()) } else { Err(no_place()) }
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

    /// On a thread of its own, for its priority alone: one takes a thousandth of a hash's time. `overloaded` where too
    /// many wait already, or where no turn comes.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, HashError> + Send + 'static,
    ) -> Result<T, Problem> {
        let held = self.turn().await?;
        let (answer, answered) = oneshot::channel();
        let hash = move || {
            stand_back();
            let done = work();
            drop(held);
            // Whoever asked may be gone.
            drop(answer.send(done));
        };
        let thread = std::thread::Builder::new().name("password".to_owned());
        thread.spawn(hash).map_err(|error| Problem::new(Code::Internal).because(&error))?;
        let done = answered.await.map_err(|error| Problem::new(Code::Internal).because(&error))?;
        done.map_err(|error| Problem::new(Code::Internal).because(&error))
    }

    async fn turn(&self) -> Result<Held, Problem> {
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| no_place())?;
        let turn = timeout(self.longest_wait, Arc::clone(&self.turns).acquire_owned()).await;
        let late = |_| Problem::new(Code::Overloaded).because(&"no turn came to hash a password");
        let turn = turn.map_err(late)?;
        Ok((place, turn.map_err(|error| Problem::new(Code::Internal).because(&error))?))
    }
}

fn no_place() -> Problem {
    Problem::new(Code::Overloaded).because(&"too many passwords wait to be hashed")
}

/// Gives this thread a low priority. A system that refuses it, or has none for a thread, only shares the processors as
/// ever.
fn stand_back() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE) {
        tracing::debug!(%error, "a password is hashed with the usual priority");
    }
}

#[cfg(test)]
impl Passwords {
    /// Its machine is full of other tests: whoever waits, waits.
    pub(crate) fn patient() -> Self {
        Self { longest_wait: Duration::from_mins(1), ..Self::new() }
    }

    /// For good.
    pub(crate) fn take_every_place(&self) {
        self.places.forget_permits(usize::MAX);
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
        let passwords = Passwords::with(1, Duration::from_mins(1));
        let asked = 1 + MOST_WAITING + 20;
        let answers =
            futures::future::join_all((0..asked).map(|_| passwords.hash(secret("flood")))).await;
        let refused = answers.iter().filter_map(|answer| answer.as_ref().err());
        let refused: Vec<_> = refused.map(|problem| problem.code).collect();
        assert_eq!(refused, [Code::Overloaded; 20]);
        assert!(passwords.hash(secret("later")).await.is_ok());
    }

    #[tokio::test]
    async fn who_gets_no_turn_in_time_is_told() {
        let passwords = Passwords::with(1, Duration::from_millis(20));
        let (_place, turn) = passwords.turn().await.unwrap();
        let refused = passwords.hash(secret("late")).await;
        assert_eq!(refused.unwrap_err().code, Code::Overloaded);
        drop(turn);
        assert!(passwords.hash(secret("later")).await.is_ok());
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_hash_stands_back_and_nothing_else_does() {
        let priority =
            || rustix::process::getpriority_process(Some(rustix::thread::gettid())).unwrap();
        let usual = priority();
        let passwords = Passwords::new();
        assert_eq!(passwords.run(move || Ok(priority())).await.unwrap(), usual.max(NICE));
        assert_eq!(priority(), usual, "the thread that waits");
        assert_eq!(tokio::task::spawn_blocking(priority).await.unwrap(), usual);
    }

    #[tokio::test]
    async fn who_went_away_holds_no_place() {
        let passwords = Passwords::with(1, Duration::from_mins(1));
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
