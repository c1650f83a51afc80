//! The scenarios, and what they have in common: floors first, steal watched, a run that lost too much repeated.

mod accept;
mod beside_usual;
mod carry;
mod carrying;
mod depth;
mod embedded;
mod end_to_end;
mod fairness;
mod flood;
mod log_size;
mod memory;
mod replicas;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::floors::Floors;
use crate::generator;
use crate::machine::{MOST_STEAL, Watch};
use crate::report::Report;
use crate::stage::{OTHER_KEYS, Stage};
use crate::timeline::Timeline;

/// What a service of this kind does a second as it is usually written (fastify and `BullMQ`, four processes, Redis with its
/// file always synced, the same checks), measured on such a machine: sends accepted, messages carried at 50 ms, and both at
/// once. How many times that this one is to do.
mod usual {
    pub(super) const ACCEPTED: f64 = 1.5 * 8_400.0;
    pub(super) const CARRIED: f64 = 2.3 * 3_100.0;
    pub(super) const BOTH: f64 = 2.0 * 3_000.0;
}

/// How often a run is done again for its steal.
const REPEATS: usize = 2;

#[derive(Debug, Subcommand)]
pub(crate) enum Scenario {
    /// How many sends a second the API accepts, and how fast.
    Accept(accept::Options),
    /// How many jobs a second one worker carries.
    Carry(carry::Options),
    /// How long a message takes from its acceptance to the provider, under a steady load.
    EndToEnd(end_to_end::Options),
    /// The embedded form, accepting and carrying at once.
    Embedded(embedded::Options),
    /// What the processes hold.
    Memory(memory::Options),
    /// What more workers give.
    Replicas(replicas::Options),
    /// Whether a backlog of notices delays codes.
    Fairness(fairness::Options),
    /// Whether a backlog slows anything.
    Depth(depth::Options),
    /// Whether a flood of log-ins delays sends.
    Flood(flood::Options),
    /// Whether a large `sms_log` slows anything.
    LogSize(log_size::Options),
    /// This service beside one as it is usually written (`bench/usual`), in turns. Needs Node.js 20 and npm.
    BesideUsual(beside_usual::Options),
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
            Scenario::Carry(options) => carry::run(options, common).await?,
            Scenario::EndToEnd(options) => end_to_end::run(options, common).await?,
            Scenario::Embedded(options) => embedded::run(options, common).await?,
            Scenario::Memory(options) => memory::run(options).await?,
            Scenario::Replicas(options) => replicas::run(options, common).await?,
            Scenario::Fairness(options) => fairness::run(options, common).await?,
            Scenario::Depth(options) => depth::run(options, common).await?,
            Scenario::Flood(options) => flood::run(options, common).await?,
            Scenario::LogSize(options) => log_size::run(options, common).await?,
            Scenario::BesideUsual(options) => beside_usual::run(options, common).await?,
        };
        if !matches!(scenario, Scenario::Embedded(_)) {
            report.note(format!("Redis had {OTHER_KEYS} other keys before"));
        }
        let shares = watch.end();
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

/// Requests that weren't answered with success.
fn refused(report: &generator::Report) -> f64 {
    (report.answers.values().sum::<u64>() - report.accepted()) as f64
}

/// The smallest of some rates as a share of the largest.
fn evenness(rates: &[f64]) -> f64 {
    let most = rates.iter().copied().fold(f64::MIN, f64::max);
    rates.iter().copied().fold(f64::MAX, f64::min) / most
}

/// The middle one of some rates: a single one of a few seconds says as much of the machine's moment.
fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_unstable_by(f64::total_cmp);
    rates.get(rates.len() / 2).copied().unwrap_or_default()
}

/// Draws the queues of a stage.
fn watch(stage: &Stage) -> Timeline {
    let timeline = Timeline::start();
    timeline.watch(stage.queues());
    timeline
}
