//! What test keys send with: the sandbox, and numbers that give each outcome on demand, so that callers can test
//! what they do with it.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use postrider_common::model::job::Outcome;
use tokio::time::Instant;

use super::sandbox::Sandbox;
use super::{Answer, NamedProvider, Provider, Sms};

/// The name in rows and timelines.
const NAME: &str = "test";
/// How long the slow number takes.
const SLOW: Duration = Duration::from_secs(3);

#[derive(Debug)]
struct TestKeys {
    sandbox: Sandbox,
}

pub(super) fn provider(sandbox: Sandbox) -> NamedProvider {
    NamedProvider {
        name: NAME.to_owned(),
        provider: Arc::new(TestKeys { sandbox }),
        reach: Duration::ZERO,
        longest: SLOW + Duration::from_secs(5),
        retry: None,
    }
}

/// What becomes of a message to this number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Magic {
    Sent,
    Refused,
    Unknown,
    Slow,
    /// Put off until the retries are spent.
    TryLater,
}

fn magic(e164: &str) -> Magic {
    match e164 {
        "+8613800000001" => Magic::Refused,
        "+8613800000002" => Magic::Unknown,
        "+8613800000003" => Magic::Slow,
        "+8613800000004" => Magic::TryLater,
        _ => Magic::Sent,
    }
}

impl TestKeys {
    async fn act(&self, sms: &Sms) -> Answer {
        match magic(sms.phone.as_e164()) {
            Magic::Refused => Answer::of(Outcome::Refused, "test_refused"),
            Magic::Unknown => Answer::of(Outcome::Unknown, "test_unknown"),
            Magic::TryLater => Answer::of(Outcome::Later, "test_later"),
            Magic::Slow => {
                tokio::time::sleep(SLOW).await;
                self.sandbox.keep(sms).await
            }
            Magic::Sent => self.sandbox.keep(sms).await,
        }
    }
}

impl Provider for TestKeys {
    fn send<'a>(&'a self, sms: &'a Sms, _begin_by: Instant) -> BoxFuture<'a, Answer> {
        Box::pin(self.act(sms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_numbers_are_magic_and_every_other_is_sent() {
        let found: Vec<_> = (0..6).map(|n| magic(&format!("+861380000000{n}"))).collect();
        let Magic::Sent = found[0] else { panic!("0 is like any other") };
        assert_eq!(
            found[1..],
            [Magic::Refused, Magic::Unknown, Magic::Slow, Magic::TryLater, Magic::Sent]
        );
    }
}
