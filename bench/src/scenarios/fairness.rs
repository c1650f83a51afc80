//! fairness: codes at a steady rate, on an idle system and then with a backlog of notices that is being carried.

use clap::Args;

use super::carrying::fill;
use super::{Common, floors, watch};
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
    #[arg(long, default_value_t = 60.0)]
    seconds: f64,
    /// Notices at the provider at once: `[worker] notice_concurrency`, whose default it is.
    #[arg(long, default_value_t = 256)]
    at_once: u16,
    /// Notices begun a second beside codes: `[worker] notices_beside_codes`, whose default it is.
    #[arg(long, default_value_t = 400)]
    beside_codes: u32,
    /// How long the provider takes, in milliseconds.
    #[arg(long, default_value_t = 50)]
    provider: u64,
}

pub(crate) async fn run(options: &Options, common: &Common) -> anyhow::Result<Report> {
    let mut report = Report::new("fairness");
    let mut stage = Stage::distributed(Manner::takes(options.provider), &[]).await?;
    let floors = floors(&stage, &mut report, common).await?;
    let timeline = watch(&stage);
    let (idle, _) = codes(&mut stage, options, &timeline, "idle").await?;
    fill(&mut stage, Request::Notices, options.waiting.div_ceil(1000), &timeline).await?;
    let (behind, notices) = codes(&mut stage, options, &timeline, "with a backlog").await?;
    report.add(Figure::new("a code to the provider, idle: p50", idle.p50, "ms"));
    report.add(Figure::new("a code to the provider, idle: p99", idle.p99, "ms"));
    report.add(Figure::new("with notices waiting: p50", behind.p50, "ms"));
    let figure = Figure::new("with notices waiting: p99", behind.p99, "ms");
    report.add(figure.at_most(1.5 * idle.p99));
    let figure = Figure::new("notices carried meanwhile", notices, "/s");
    report.add(figure.of_floor("consume", floors.consume));
    report.note(format!(
        "{} notices waiting, being carried; codes at {}/s",
        options.waiting, options.rate
    ));
    report.note(format!(
        "one worker with {} notices at the provider at once, at {} ms; {} begun a second beside codes",
        options.at_once, options.provider, options.beside_codes
    ));
    report.points = timeline.points();
    Ok(report)
}

/// How long codes take to the provider, with a worker that is started for it, and the notices that it carries a second.
async fn codes(
    stage: &mut Stage,
    options: &Options,
    timeline: &Timeline,
    name: &str,
) -> anyhow::Result<(Latency, f64)> {
    let at_once = options.at_once.to_string();
    let beside_codes = options.beside_codes.to_string();
    stage.add_worker(&[
        ("POSTRIDER_WORKER__NOTICE_CONCURRENCY", &at_once),
        ("POSTRIDER_WORKER__NOTICES_BESIDE_CODES", &beside_codes),
    ])?;
    let plan = stage.plan(Request::Code, Some(options.rate), 5.0);
    load::run("warming up", &plan, timeline).await?;
    stage.calls().await?;
    let plan = stage.plan(Request::Code, Some(options.rate), options.seconds);
    load::run(name, &plan, timeline).await?;
    let mut calls = stage.calls().await?;
    stage.workers.clear();
    let codes = calls.remove("SMS_CODE").unwrap_or_default();
    let notices = calls.remove("SMS_NOTICE").unwrap_or_default();
    Ok((codes, notices.count as f64 / options.seconds))
}
