//! memory: what the processes hold, idle and at work.

use std::time::Duration;

use clap::Args;

use super::carrying::fill;
use super::watch;
use crate::generator::Request;
use crate::load;
use crate::provider::Manner;
use crate::report::{Figure, Report};
use crate::stage::Stage;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Seconds of load.
    #[arg(long, default_value_t = 15.0)]
    seconds: f64,
}

pub(crate) async fn run(options: &Options) -> anyhow::Result<Report> {
    let mut report = Report::new("memory");
    let mut stage = Stage::distributed(Manner::takes(1000), &[]).await?;
    let timeline = watch(&stage);
    stage.add_worker(&[])?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let (api, worker) = (stage.api.memory(), stage.workers[0].process.memory());
    report.add(Figure::new("API, idle", api.0, "MiB").at_most(30.0));
    report.add(Figure::new("worker, idle", worker.0, "MiB").at_most(30.0));
    stage.workers.clear();

    let plan = stage.plan(Request::Code, None, options.seconds);
    load::run("256 connections", &plan, &timeline).await?;
    report.add(
        Figure::new("API at 256 connections, peak", stage.api.memory().1, "MiB").at_most(80.0),
    );
    fill(&mut stage, Request::Code, 10_000, &timeline).await?;
    stage.add_worker(&[])?;
    tokio::time::sleep(Duration::from_secs_f64(options.seconds)).await;
    let worker = stage.workers[0].process.memory().1;
    report.add(Figure::new("worker at 1,000 in flight, peak", worker, "MiB").at_most(80.0));
    report.note("resident memory, from /proc/PID/status; the provider takes a second a call");
    report.points = timeline.points();
    Ok(report)
}
