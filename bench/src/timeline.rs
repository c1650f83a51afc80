//! What is drawn over time: latencies by the second, and how much waited in the queues.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::task::JoinHandle;

use crate::generator::Report;
use crate::stage::Queues;

/// Between two looks at the queues.
const EVERY: Duration = Duration::from_millis(500);

#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Points {
    /// Seconds, requests a second, p50 and p99 in milliseconds.
    pub(crate) latencies: Vec<(f64, u64, f64, f64)>,
    /// Seconds, jobs ready in both lanes.
    pub(crate) depths: Vec<(f64, u64)>,
}

/// Clones share what they hold.
#[derive(Debug, Clone)]
pub(crate) struct Timeline {
    begun: Instant,
    points: Arc<Mutex<Points>>,
}

impl Timeline {
    pub(crate) fn start() -> Self {
        Self { begun: Instant::now(), points: Arc::default() }
    }

    pub(crate) fn answered(&self, report: &Report) {
        let (at, total) = (self.seconds(), report.answers.values().sum());
        let latency = report.latency;
        self.points.lock().unwrap().latencies.push((at, total, latency.p50, latency.p99));
    }

    /// How much waited when last looked at.
    pub(crate) fn depth(&self) -> u64 {
        self.points.lock().unwrap().depths.last().map_or(0, |(_, depth)| *depth)
    }

    /// Looks at the queues until it is aborted.
    pub(crate) fn watch(&self, queues: Queues) -> JoinHandle<()> {
        let timeline = self.clone();
        tokio::spawn(async move {
            let mut looks = tokio::time::interval(EVERY);
            loop {
                looks.tick().await;
                let Some(ready) = queues.ready().await else { continue };
                let point = (timeline.seconds(), ready);
                timeline.points.lock().unwrap().depths.push(point);
            }
        })
    }

    pub(crate) fn points(&self) -> Points {
        self.points.lock().unwrap().clone()
    }

    fn seconds(&self) -> f64 {
        self.begun.elapsed().as_secs_f64()
    }
}
