//! The parent's side of a generator: starts it, shows its progress, gives what it reports.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::generator::{Plan, Report};
use crate::harness::services;
use crate::process::{Process, ourselves};
use crate::timeline::Timeline;

/// A generator at work.
#[derive(Debug)]
pub(crate) struct Load {
    process: Process,
    seen: usize,
}

impl Load {
    pub(crate) fn start(plan: &Plan) -> anyhow::Result<Self> {
        let file = services::new_folder("plan").join("plan.json");
        std::fs::write(&file, serde_json::to_vec(plan)?)?;
        let arguments = ["generate".to_owned(), file.display().to_string()];
        Ok(Self { process: ourselves(&arguments)?, seen: 0 })
    }

    /// Waits for its end. Each second goes into `timeline` and onto the terminal.
    pub(crate) async fn end(mut self, name: &str, timeline: &Timeline) -> anyhow::Result<Report> {
        loop {
            let ended = self.process.ended();
            for report in self.news()? {
                if report.last {
                    clear();
                    return Ok(report);
                }
                show(name, &report, timeline);
                timeline.answered(&report);
            }
            if ended {
                bail!("the generator ended early:\n{}", self.process.output());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn news(&mut self) -> anyhow::Result<Vec<Report>> {
        let printed = self.process.printed();
        let whole = printed.rfind('\n').map_or("", |end| &printed[..end]);
        let lines: Vec<_> = whole.lines().skip(self.seen).collect();
        self.seen += lines.len();
        lines.into_iter().map(|line| serde_json::from_str(line).context("a report")).collect()
    }
}

/// Runs a plan to its end.
pub(crate) async fn run(name: &str, plan: &Plan, timeline: &Timeline) -> anyhow::Result<Report> {
    Load::start(plan)?.end(name, timeline).await
}

fn show(name: &str, report: &Report, timeline: &Timeline) {
    let total: u64 = report.answers.values().sum();
    progress(&format!(
        "{name} {:5.0} s  {total:6}/s  accepted {:6}/s  p50 {:7.2} ms  p99 {:7.2} ms  waiting {}",
        report.at,
        report.accepted(),
        report.latency.p50,
        report.latency.p99,
        timeline.depth(),
    ));
}

/// One line that the next one replaces; nothing where nobody looks.
pub(crate) fn progress(line: &str) {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K{line}");
        let _unseen = std::io::stderr().flush();
    }
}

/// Takes the line away.
pub(crate) fn clear() {
    progress("");
}
