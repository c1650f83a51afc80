//! fairness: codes at a steady rate, on an idle system and then with a backlog of notices that is being carried.

use clap::Args;

use super::carrying::fill;
use super::watch;
use crate::generator::Request;
use crate::latency::Latency;
use crate::load;
use crate::provider::Manner;
use crate::report::{Figure, Report};
use crate::stage::Stage;
use crate::timeline::Timeline;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Notices waiting.
    #[arg(long, default_value_t = 1_000_000)]
    waiting: u64,
    /// Codes a second.
    #[arg(long, default_value_t = 200.0)]
    rate: f64,
    #[arg(long, default_value_t = 20.0)]
    seconds: f64,
}

pub(crate) async fn run(options: &Options) -> anyhow::Result<Report> {
    let mut report = Report::new("fairness");
    let mut stage = Stage::distributed(Manner::takes(50), &[]).await?;
    let timeline = watch(&stage);
    let idle = codes(&mut stage, options, &timeline, "idle").await?;
    fill(&mut stage, Request::Notices, options.waiting.div_ceil(1000), &timeline).await?;
    let behind = codes(&mut stage, options, &timeline, "with a backlog").await?;
    report.add(Figure::new("a code to the provider, idle: p50", idle.p50, "ms"));
    report.add(Figure::new("a code to the provider, idle: p99", idle.p99, "ms"));
    report.add(Figure::new("with notices waiting: p50", behind.p50, "ms"));
    let figure = Figure::new("with notices waiting: p99", behind.p99, "ms");
    report.add(figure.at_most(1.5 * idle.p99));
    report.note(format!(
        "{} notices waiting, being carried; codes at {}/s",
        options.waiting, options.rate
    ));
    report.note("one worker with the default of 256 notices at the provider at once, at 50 ms");
    report.points = timeline.points();
    Ok(report)
}

/// How long codes take to the provider, with a worker that is started for it.
async fn codes(
    stage: &mut Stage,
    options: &Options,
    timeline: &Timeline,
    name: &str,
) -> anyhow::Result<Latency> {
    stage.add_worker(&[("POSTRIDER_WORKER__NOTICE_CONCURRENCY", "256")])?;
    let plan = stage.plan(Request::Code, Some(options.rate), 5.0);
    load::run("warming up", &plan, timeline).await?;
    stage.calls().await?;
    let plan = stage.plan(Request::Code, Some(options.rate), options.seconds);
    load::run(name, &plan, timeline).await?;
    let codes = stage.calls().await?.remove("SMS_CODE").unwrap_or_default();
    stage.workers.clear();
    Ok(codes)
}
