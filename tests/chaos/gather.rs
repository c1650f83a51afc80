//! Waits until the service has come to rest after a run, and reads what it left behind.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use sqlx::{Connection as _, PgConnection};
use tokio::time::{Instant, sleep};

use super::clock::Clock;
use super::evidence::{Attempt, Call, Dead, Row};
use super::system::{Addresses, is_ready};
use crate::harness::eventually;
use crate::harness::provider::Provider;

const LOOK: Duration = Duration::from_millis(100);
/// Far beyond what is allowed: how long it really took is shown.
const PATIENCE: Duration = Duration::from_secs(90);

/// Milliseconds from `since` until each program says that it serves; none where it never did.
pub async fn recovered(addresses: &Addresses, since: Instant) -> BTreeMap<String, Option<i64>> {
    let mut recovered = BTreeMap::new();
    for (name, url) in &addresses.ready {
        recovered.insert(name.clone(), until(since, async || is_ready(url).await).await);
    }
    recovered
}

/// Milliseconds from `since` until nothing is in any queue, waiting or handed out; and what is, where that never came.
pub async fn drained(
    addresses: &Addresses,
    since: Instant,
) -> (Option<i64>, BTreeMap<String, u64>) {
    let empty = async || left(addresses).await.is_some_and(|left| left.is_empty());
    let after = until(since, empty).await;
    (after, left(addresses).await.unwrap_or_default())
}

async fn until(since: Instant, is_so: impl AsyncFn() -> bool) -> Option<i64> {
    while since.elapsed() < PATIENCE {
        if is_so().await {
            return Some(i64::try_from(since.elapsed().as_millis()).unwrap());
        }
        sleep(LOOK).await;
    }
    None
}

/// The queues that hold anything, as the broker tells; `None` where it can't be asked.
async fn left(addresses: &Addresses) -> Option<BTreeMap<String, u64>> {
    let client =
        reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(2)).build().unwrap();
    let answer = client.get(format!("{}/api/queues", addresses.management)).send().await.ok()?;
    let queues: Vec<Value> = answer.json().await.ok()?;
    let held = |queue: &Value| {
        let held = queue["messages"].as_u64()?;
        Some((queue["name"].as_str()?.to_owned(), held))
    };
    let all: Option<BTreeMap<_, _>> = queues.iter().map(held).collect();
    Some(all?.into_iter().filter(|(_, held)| *held > 0).collect())
}

/// What the tables hold.
pub async fn tables(addresses: &Addresses) -> (Vec<Row>, Vec<Attempt>, Vec<Dead>) {
    let connect = async || PgConnection::connect(&addresses.database).await.ok();
    let mut connection = eventually("PostgreSQL to answer", connect).await;
    let rows = "SELECT id, verification_id, type, phone_number, purpose, client_ip, attempts, status, error_code, create_time \
                FROM sms_log";
    let attempts =
        r#"SELECT message_id, "number", outcome, "at", duration_ms, error_code FROM sms_attempt"#;
    let dead = "SELECT id, message_id, reason FROM dead_letter";
    (
        sqlx::query_as(rows).fetch_all(&mut connection).await.unwrap(),
        sqlx::query_as(attempts).fetch_all(&mut connection).await.unwrap(),
        sqlx::query_as(dead).fetch_all(&mut connection).await.unwrap(),
    )
}

/// What the providers received.
pub fn calls(providers: &[Provider], clock: Clock) -> Vec<Call> {
    let mut calls: Vec<Call> = providers
        .iter()
        .flat_map(Provider::handed)
        .map(|handed| Call {
            code: handed.code(),
            id: handed.out_id,
            at: clock.of(handed.at),
            carried: handed.carried,
            answered: handed.answered,
        })
        .collect();
    calls.sort_by_key(|call| call.at);
    calls
}
