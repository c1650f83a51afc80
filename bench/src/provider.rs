//! The fake provider, a process of its own: it speaks Alibaba Cloud's format, takes as long as it is told, refuses and
//! forgets to answer as often as it is told, and measures how long messages were on their way to it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, Response};
use axum::routing::get;
use clap::Args;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::latency::{self, Latency};

const ACCEPTED: &str =
    r#"{"Code":"OK","Message":"OK","RequestId":"r","BizId":"900619746936498440^0"}"#;
const LATER: &str = r#"{"Code":"isp.SYSTEM_ERROR","Message":"try later","RequestId":"r"}"#;

/// How the provider behaves.
#[derive(Debug, Clone, Copy, Args, Serialize, Deserialize)]
pub(crate) struct Manner {
    /// How long it takes to answer, in milliseconds.
    #[arg(long, default_value_t = 0)]
    pub(crate) latency_ms: u64,
    /// The share of calls that are answered "not now".
    #[arg(long, default_value_t = 0.0)]
    pub(crate) errors: f64,
    /// The share of calls that are taken and never answered.
    #[arg(long, default_value_t = 0.0)]
    pub(crate) lost: f64,
}

impl Manner {
    /// Takes everything, after so many milliseconds.
    pub(crate) fn takes(latency_ms: u64) -> Self {
        Self { latency_ms, errors: 0.0, lost: 0.0 }
    }
}

/// What came in since it was last asked, by template: calls, and how long messages took from the making of their ids.
pub(crate) type Calls = BTreeMap<String, Latency>;

/// Messages in the order in which they came in, and when, unix milliseconds.
pub(crate) type Arrivals = Vec<(Uuid, i64)>;

/// Arrivals remembered at the most.
const REMEMBERED: usize = 1_000_000;

struct Shared {
    manner: Manner,
    calls: Mutex<BTreeMap<String, Histogram<u64>>>,
    arrivals: Mutex<Arrivals>,
}

/// Serves until it is ended.
pub(crate) async fn run(manner: Manner) -> anyhow::Result<()> {
    let shared = Arc::new(Shared { manner, calls: Mutex::default(), arrivals: Mutex::default() });
    let listener = postrider_common::runtime::http::listen(([127, 0, 0, 1], 0).into())?;
    println!("listening on {}", listener.local_addr()?);
    let routes = Router::new().route("/calls", get(calls)).route("/arrivals", get(arrivals));
    let app = routes.fallback(call).with_state(shared);
    axum::serve(listener, app).await?;
    Ok(())
}

async fn calls(State(shared): State<Arc<Shared>>) -> axum::Json<Calls> {
    let calls = std::mem::take(&mut *shared.calls.lock().unwrap());
    axum::Json(calls.iter().map(|(name, times)| (name.clone(), Latency::of(times))).collect())
}

async fn arrivals(State(shared): State<Arc<Shared>>) -> axum::Json<Arrivals> {
    axum::Json(std::mem::take(&mut *shared.arrivals.lock().unwrap()))
}

async fn call(State(shared): State<Arc<Shared>>, request: Request<Body>) -> Response<Body> {
    let query = request.uri().query().unwrap_or_default();
    let field = |name: &str| {
        query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')).unwrap_or("")
    };
    shared.note(field("TemplateCode"), field("OutId"));
    let Manner { latency_ms, errors, lost } = shared.manner;
    if latency_ms > 0 {
        tokio::time::sleep(Duration::from_millis(latency_ms)).await;
    }
    let chance = if errors + lost > 0.0 { rand::random::<f64>() } else { 1.0 };
    if chance < lost {
        std::future::pending::<()>().await;
    }
    let body = if chance < lost + errors { LATER } else { ACCEPTED };
    Response::builder().header("content-type", "application/json").body(body.into()).unwrap()
}

impl Shared {
    fn note(&self, template: &str, message: &str) {
        let now = now();
        let message = message.parse::<Uuid>().unwrap_or_default();
        let took = since_made(message, now).unwrap_or_default();
        let mut arrivals = self.arrivals.lock().unwrap();
        if arrivals.len() < REMEMBERED {
            arrivals.push((message, now.as_millis() as i64));
        }
        drop(arrivals);
        let mut calls = self.calls.lock().unwrap();
        if let Some(times) = calls.get_mut(template) {
            return latency::record(times, took);
        }
        let mut times = latency::histogram();
        latency::record(&mut times, took);
        calls.insert(template.to_owned(), times);
    }
}

/// Since the API made the message's id, which is before it was accepted: a version 7 UUID holds its time, to the
/// millisecond, cut.
fn since_made(message: Uuid, now: Duration) -> Option<Duration> {
    let (seconds, nanos) = message.get_timestamp()?.to_unix();
    now.checked_sub(Duration::new(seconds, nanos))
}

/// Since the beginning of 1970.
fn now() -> Duration {
    #[expect(clippy::disallowed_methods, reason = "one machine's clock is compared with itself")]
    let now = std::time::SystemTime::now();
    now.duration_since(UNIX_EPOCH).unwrap_or_default()
}
