//! How fast workers write rows: of a known number of jobs, or for a while.

use std::time::{Duration, Instant};

use anyhow::bail;

use crate::generator::Request;
use crate::load::{self, clear, progress};
use crate::stage::Stage;
use crate::timeline::Timeline;

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
pub(super) async fn carried(stage: &Stage, count: u64) -> anyhow::Result<f64> {
    let mut rate = Rate::new();
    while rate.last.1 < count {
        tokio::time::sleep(LOOK).await;
        rate.see(stage.rows().await);
        progress(&format!("carried {} of {count}", rate.last.1));
        if rate.last.0.elapsed() > PATIENCE {
            bail!("no row in {PATIENCE:?}, at {} of {count}", rate.last.1);
        }
    }
    clear();
    Ok(rate.a_second())
}

/// Rows a second over some time, counted from now.
pub(super) async fn carried_for(stage: &Stage, seconds: f64) -> f64 {
    let (begun, before) = (Instant::now(), stage.rows().await);
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
    (stage.rows().await - before) as f64 / begun.elapsed().as_secs_f64()
}
