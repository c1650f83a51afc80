//! How fast workers write rows: of a known number of jobs, for a while, or while as many are accepted.

use std::time::{Duration, Instant};

use anyhow::bail;

use crate::generator::{Plan, Request};
use crate::harness::eventually;
use crate::load::{self, Load, clear, progress};
use crate::stage::Stage;
use crate::timeline::Timeline;
use crate::usual::Usual;

const LOOK: Duration = Duration::from_millis(50);
/// Without a new row for so long, something is wrong.
const PATIENCE: Duration = Duration::from_mins(1);

/// Rows and the time in which they were written, from the first one seen on.
struct Rate {
    first: Option<(Instant, u64)>,
    last: (Instant, u64),
}

impl Rate {
    fn new() -> Self {
        Self { first: None, last: (Instant::now(), 0) }
    }

    fn see(&mut self, rows: u64) {
        let seen = (Instant::now(), rows);
        if rows > 0 {
            self.first.get_or_insert(seen);
        }
        if rows > self.last.1 {
            self.last = seen;
        }
    }

    fn a_second(&self) -> f64 {
        let Some((begun, rows)) = self.first else { return 0.0 };
        (self.last.1 - rows) as f64 / self.last.0.duration_since(begun).as_secs_f64().max(1e-9)
    }
}

/// What accepts and carries: ours, or what it is compared with.
pub(super) trait Service {
    fn plan(&mut self, request: Request, rate: Option<f64>, seconds: f64) -> Plan;
    async fn start_workers(&mut self) -> anyhow::Result<()>;
    fn end_workers(&mut self);
    /// Messages that the present workers have written the end of; none while that can't be seen.
    async fn rows(&self) -> Option<u64>;
}

impl Service for Stage {
    fn plan(&mut self, request: Request, rate: Option<f64>, seconds: f64) -> Plan {
        self.plan(request, rate, seconds)
    }

    async fn start_workers(&mut self) -> anyhow::Result<()> {
        self.add_worker(&[])
    }

    fn end_workers(&mut self) {
        self.workers.clear();
    }

    async fn rows(&self) -> Option<u64> {
        self.rows().await
    }
}

impl Service for Usual {
    fn plan(&mut self, request: Request, rate: Option<f64>, seconds: f64) -> Plan {
        self.plan(request, rate, seconds)
    }

    async fn start_workers(&mut self) -> anyhow::Result<()> {
        self.start_workers().await
    }

    fn end_workers(&mut self) {
        self.end_workers();
    }

    async fn rows(&self) -> Option<u64> {
        self.rows().await
    }
}

/// Accepts this many messages while no worker takes them. Gives the rate at which they were accepted.
pub(super) async fn fill(
    stage: &mut Stage,
    request: Request,
    count: u64,
    timeline: &Timeline,
) -> anyhow::Result<f64> {
    let plan = stage.plan_of(request, count);
    let filled = load::run("filling", &plan, timeline).await?;
    if filled.accepted() < count {
        bail!("only {} of {count} were accepted: {:?}", filled.accepted(), filled.answers);
    }
    Ok(filled.accepted() as f64 / filled.at)
}

/// Waits until the workers have written so many rows; gives rows a second.
pub(super) async fn carried(service: &impl Service, count: u64) -> anyhow::Result<f64> {
    let mut rate = Rate::new();
    while rate.last.1 < count {
        tokio::time::sleep(LOOK).await;
        rate.see(service.rows().await.unwrap_or_default());
        progress(&format!("carried {} of {count}", rate.last.1));
        if rate.last.0.elapsed() > PATIENCE {
            bail!("no row in {PATIENCE:?}, at {} of {count}", rate.last.1);
        }
    }
    clear();
    Ok(rate.a_second())
}

/// Rows a second over some time, counted from now.
async fn carried_for(service: &impl Service, seconds: f64) -> f64 {
    let rows = async || eventually("the workers to tell", async || service.rows().await).await;
    let (before, begun) = (rows().await, Instant::now());
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
    (rows().await - before) as f64 / begun.elapsed().as_secs_f64()
}

/// Accepted and carried a second, at the same time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Both {
    pub(super) accepted: f64,
    pub(super) carried: f64,
}

impl Both {
    pub(super) fn least(self) -> f64 {
        self.accepted.min(self.carried)
    }
}

/// Accepts and carries at once, for so many seconds each: first as fast as requests are answered, which leaves some waiting,
/// then at a rate between what is accepted and carried then, so that neither takes what the other needs. `before`: rows that
/// the workers are to have written when it begins.
pub(super) async fn both_at_once(
    service: &mut impl Service,
    mut before: u64,
    seconds: f64,
    timeline: &Timeline,
) -> anyhow::Result<[Both; 2]> {
    let mut both = async |name: &str, rate| {
        let load = Load::start(&service.plan(Request::Code, rate, seconds))?;
        let (sent, carried_rate) =
            tokio::join!(load.end(name, timeline), carried_for(service, seconds));
        let accepted = sent?.accepted();
        before += accepted;
        carried(service, before).await?;
        anyhow::Ok(Both { accepted: accepted as f64 / seconds, carried: carried_rate })
    };
    let fast = both("as fast as it goes", None).await?;
    let rate = f64::midpoint(fast.accepted, fast.carried);
    Ok([fast, both("between these two", Some(rate)).await?])
}
