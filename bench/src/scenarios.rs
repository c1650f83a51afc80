//! The scenarios, and what they have in common: floors first, steal watched, a run that lost too much repeated.

pub(crate) mod accept;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::floors::Floors;
use crate::machine::{MOST_STEAL, Watch};
use crate::report::Report;
use crate::stage::Stage;
use crate::timeline::Timeline;

/// How often a run is done again for its steal.
const REPEATS: usize = 2;

#[derive(Debug, Subcommand)]
pub(crate) enum Scenario {
    /// How many sends a second the API accepts, and how fast.
    Accept(accept::Options),
}

/// What holds for all.
#[derive(Debug, Clone, Args)]
pub(crate) struct Common {
    /// Where JSON and SVG are written.
    #[arg(long, global = true, default_value = "bench/results")]
    pub(crate) results: PathBuf,
    /// Seconds for each of the floors.
    #[arg(long, global = true, default_value_t = 4.0)]
    pub(crate) floor_seconds: f64,
}

pub(crate) async fn run(scenario: &Scenario, common: &Common) -> anyhow::Result<()> {
    for repeated in 0..=REPEATS {
        let watch = Watch::start();
        let mut report = match scenario {
            Scenario::Accept(options) => accept::run(options, common).await?,
        };
        let shares = watch.shares();
        (report.processors, report.repeated) = (Some(shares), repeated);
        report.print();
        let file = report.save(&common.results)?;
        println!("written: {} and .svg", file.display());
        if shares.steal <= MOST_STEAL {
            break;
        }
        println!("more than {:.0} % of the processors' time was stolen", MOST_STEAL * 100.0);
    }
    Ok(())
}

/// Measures the floors and notes them.
async fn floors(stage: &Stage, report: &mut Report, common: &Common) -> anyhow::Result<Floors> {
    let Some(services) = &stage.services else { return Ok(Floors::default()) };
    let floors = Floors::measure(services, common.floor_seconds).await?;
    report.floors = Some(floors);
    Ok(floors)
}

/// Draws the queues of a stage.
fn watch(stage: &Stage) -> Timeline {
    let timeline = Timeline::start();
    if let Some(queue) = stage.queue() {
        timeline.watch(queue);
    }
    timeline
}
