//! replicas: one, two and four workers, each with a bounded number of calls at the provider at once.

use clap::Args;

use super::carrying::{carried, fill};
use super::{Common, floors, watch};
use crate::generator::Request;
use crate::provider::Manner;
use crate::report::{Figure, Report};
use crate::stage::Stage;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Calls at once, of each worker.
    #[arg(long, default_value_t = 32)]
    concurrency: u16,
    /// Jobs for each worker.
    #[arg(long, default_value_t = 8000)]
    jobs: u64,
}

pub(crate) async fn run(options: &Options, common: &Common) -> anyhow::Result<Report> {
    let mut report = Report::new("replicas");
    let mut stage = Stage::distributed(Manner::takes(50), &[]).await?;
    let floors = floors(&stage, &mut report, common).await?;
    let timeline = watch(&stage);
    let concurrency = options.concurrency.to_string();
    let mut alone = 0.0;
    for workers in [1, 2, 4] {
        let jobs = options.jobs * workers;
        fill(&mut stage, Request::Code, jobs, &timeline).await?;
        for _ in 0..workers {
            stage.add_worker(&[("POSTRIDER_WORKER__CODE_CONCURRENCY", &concurrency)])?;
        }
        let rate = carried(&stage, jobs).await?;
        stage.workers.clear();
        if workers == 1 {
            alone = rate;
        }
        let name = format!("carried by {workers}");
        let figure = Figure::new(name, rate, "/s").of_floor("consume", floors.consume);
        report.add(figure.at_least(alone * workers as f64 * 0.85));
    }
    report.note(format!("provider at 50 ms, {concurrency} calls at once for each worker"));
    report.points = timeline.points();
    Ok(report)
}
