//! carry: one worker drains a queue that was filled before, with a provider that answers at once and after 50 ms.

use clap::Args;

use super::carrying::{carried, fill};
use super::{Common, floors, usual, watch};
use crate::generator::Request;
use crate::provider::Manner;
use crate::report::{Figure, Report};
use crate::stage::Stage;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Jobs to drain, each time.
    #[arg(long, default_value_t = 100_000)]
    jobs: u64,
}

pub(crate) async fn run(options: &Options, common: &Common) -> anyhow::Result<Report> {
    let mut report = Report::new("carry");
    let mut stage = Stage::distributed(Manner::takes(0), &[]).await?;
    let floors = floors(&stage, &mut report, common).await?;
    let timeline = watch(&stage);
    for (latency_ms, share) in [(0, 0.6), (50, 0.5)] {
        stage.change_provider(Manner::takes(latency_ms)).await?;
        fill(&mut stage, Request::Code, options.jobs, &timeline).await?;
        stage.add_worker(&[])?;
        let rate = carried(&stage, options.jobs).await?;
        stage.workers.clear();
        let name = format!("carried, provider at {latency_ms} ms");
        let figure = Figure::new(name, rate, "/s").of_floor("consume", floors.consume);
        report.add(figure.at_least(share * floors.consume));
        if latency_ms > 0 {
            let figure = Figure::new("beside what is usual", rate, "/s");
            report.add(figure.at_least(usual::CARRIED));
        }
    }
    report.note(format!("{} jobs each; one worker, 1,000 at the provider at once", options.jobs));
    report.points = timeline.points();
    Ok(report)
}
