//! Logs to standard error, and the one recorder of metrics.

use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::LogFormat;

/// Bounds of every histogram of seconds.
const SECONDS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

const SUM_UP_EVERY: Duration = Duration::from_secs(1);

/// Libraries that see phone numbers, tokens or whole requests and would log them at their lowest levels: whatever the
/// filter says, they are kept at this. (What lapin would log the queue's own modules do: once an outage, where lapin has
/// some lines for every try, and an error for every connection that is closed as it should be.)
const CAPPED: [&str; 5] =
    ["rlibphonenumber=off", "hyper=warn", "hyper_util=warn", "reqwest=warn", "lapin=off"];

/// Why logs or metrics can't begin.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    #[error("log.filter: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    #[error("logs can't begin: {0}")]
    Logs(#[from] tracing_subscriber::util::TryInitError),
    #[error("metrics can't begin: {0}")]
    Metrics(#[from] metrics_exporter_prometheus::BuildError),
}

/// The names and numbers of levels, in lower case, as filters have them.
const LEVELS: [&str; 12] =
    ["off", "error", "warn", "info", "debug", "trace", "0", "1", "2", "3", "4", "5"];

/// Checks a filter of logs. A word that is no level would be taken for a part of the program: it alone would log, and
/// nothing else, no error either.
pub(crate) fn check_filter(filter: &str) -> Result<(), String> {
    const EXPECTED: &str = "must be a level (error, warn, info, debug, trace, off), or a list such as \
        info,postrider_worker=debug";
    EnvFilter::try_new(filter).map_err(|error| format!("{error}: {EXPECTED}"))?;
    let is_level = |word: &str| LEVELS.contains(&word.to_ascii_lowercase().as_str());
    for directive in filter.split(',').filter(|directive| !directive.is_empty()) {
        let level = directive.rsplit_once('=').map_or(directive, |(_, level)| level);
        if !is_level(level) {
            return Err(format!("`{directive}` has no known level: {EXPECTED}"));
        }
    }
    let is_default = |directive: &str| is_level(directive);
    if !filter.is_empty() && !filter.split(',').any(is_default) {
        return Err(format!("`{filter}` has no level for all that it doesn't name: {EXPECTED}"));
    }
    Ok(())
}

/// Begins logging, once in a process. Standard output stays free for what commands print.
pub fn init_logs(format: LogFormat, filter: &str) -> Result<(), TelemetryError> {
    let mut filter = EnvFilter::try_new(filter)?;
    for cap in CAPPED {
        filter = filter.add_directive(cap.parse()?);
    }
    let base = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let registry = tracing_subscriber::registry().with(filter);
    match format {
        LogFormat::Json => registry.with(base.json().flatten_event(true)).try_init()?,
        LogFormat::Text => {
            let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
            registry.with(base.with_ansi(terminal)).try_init()?;
        }
    }
    Ok(())
}

/// Begins recording metrics, once in a process and on its runtime; the handle renders them.
pub fn init_metrics() -> Result<PrometheusHandle, TelemetryError> {
    let builder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?;
    let metrics = builder.install_recorder()?;
    tokio::spawn(sum_up(metrics.clone()));
    Ok(metrics)
}

/// Sums up what histograms were given: until then they keep each value, and nobody may ever come to read them.
async fn sum_up(metrics: PrometheusHandle) {
    let mut seconds = tokio::time::interval(SUM_UP_EVERY);
    loop {
        seconds.tick().await;
        metrics.run_upkeep();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};

    /// The names in these lines that follow `before`.
    fn names(text: &str, before: &str) -> BTreeSet<String> {
        let name = |rest: &str| Some(rest.split_once(['"', '`'])?.0.to_owned());
        text.split(before).skip(1).filter_map(name).filter(|n| n.starts_with("sms_")).collect()
    }

    fn sources(folder: &Path) -> String {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let text = |path: PathBuf| {
            if path.is_dir() { sources(&path) } else { std::fs::read_to_string(path).unwrap() }
        };
        entries.map(text).collect()
    }

    #[test]
    fn every_metric_is_in_the_operators_table() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let code: String = ["api/src", "common/src", "worker/src"]
            .map(|folder| sources(&root.join(folder)))
            .concat();
        // A name may stand on the line after its call.
        let code: String = code.split_whitespace().collect();
        let used: BTreeSet<_> = ["counter!(\"", "gauge!(\"", "histogram!(\""]
            .iter()
            .flat_map(|call| names(&code, call))
            .collect();
        assert!(used.len() > 10, "{used:?}");
        let docs = std::fs::read_to_string(root.join("docs/operations.md")).unwrap();
        let table = docs.split("## Metrics").nth(1).unwrap();
        assert_eq!(used, names(table, "\n| `"));
    }
}
