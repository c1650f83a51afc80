//! embedded: one process on SQLite accepts and carries at once.

use std::time::{Duration, Instant};

use clap::Args;

use super::{Common, refused, watch};
use crate::floors::commits;
use crate::generator::Request;
use crate::load;
use crate::provider::{Calls, Manner};
use crate::report::{Figure, Report};
use crate::stage::Stage;

#[derive(Debug, Args)]
pub(crate) struct Options {
    #[arg(long, default_value_t = 2000.0)]
    rate: f64,
    #[arg(long, default_value_t = 20.0)]
    seconds: f64,
    #[arg(long, default_value_t = 50)]
    latency_ms: u64,
}

pub(crate) async fn run(options: &Options, common: &Common) -> anyhow::Result<Report> {
    let mut report = Report::new("embedded");
    let commits = commits(common.floor_seconds).await?;
    report.add(Figure::new("floor: commits of one row, one after the other", commits, "/s"));
    let mut stage = Stage::embedded(Manner::takes(options.latency_ms), &[]).await?;
    let timeline = watch(&stage);
    for (name, rate) in [("closed loop", None), ("steady", Some(options.rate))] {
        stage.calls().await?;
        let begun = Instant::now();
        let plan = stage.plan(Request::Code, rate, options.seconds);
        let sent = load::run(name, &plan, &timeline).await?;
        let seconds = begun.elapsed().as_secs_f64();
        let carried = count(&stage.calls().await?) as f64 / seconds;
        let accepted = sent.accepted() as f64 / sent.at;
        let both = accepted.min(carried);
        report.add(Figure::new(format!("{name}: accepted"), accepted, "/s"));
        report.add(Figure::new(format!("{name}: carried"), carried, "/s"));
        // At a steady rate a little is lost to the ends of the run.
        let least = rate.map_or(2000.0, |rate| rate * 0.97);
        let figure = Figure::new(format!("{name}: both at once"), both, "/s");
        report.add(figure.of_floor("commits", commits).at_least(least));
        report.add(Figure::new(format!("{name}: p50"), sent.latency.p50, "ms"));
        report.add(Figure::new(format!("{name}: p99"), sent.latency.p99, "ms"));
        let bad = Figure::new(format!("{name}: refused or unanswered"), refused(&sent), "");
        report.add(bad.at_most(0.0));
        // What is left is carried before the next load.
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if count(&stage.calls().await?) == 0 {
                break;
            }
        }
    }
    report.note("SQLite with synchronous=FULL; 256 connections");
    report.note(format!("provider at {} ms", options.latency_ms));
    report.points = timeline.points();
    Ok(report)
}

fn count(calls: &Calls) -> u64 {
    calls.values().map(|calls| calls.count).sum()
}
