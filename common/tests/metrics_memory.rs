//! What metrics hold where nobody reads them: in a process of its own, whose memory nobody else changes.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test that can't go on ends by panicking")]

use std::time::Duration;

use postrider_common::runtime::telemetry;

/// Mebibytes that this process holds.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() / 1024
}

#[tokio::test(start_paused = true)]
async fn what_nobody_scrapes_does_not_pile_up() {
    let _handle = telemetry::init_metrics().unwrap();
    let before = resident();
    for _ in 0..100 {
        for _ in 0..100_000 {
            metrics::histogram!("sms_test_seconds").record(0.01);
        }
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
    let grown = resident().saturating_sub(before);
    assert!(grown < 40, "10 million values took {grown} MiB");
}
