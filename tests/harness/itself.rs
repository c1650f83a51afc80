//! The harness itself: services and processes answer and are there again after a kill, the
//! fakes do as they are told, and nothing outlives a test run.

mod fakes;
mod processes;
mod services;

use std::path::Path;
use std::process::{Command, Stdio};

use crate::harness::{eventually, guardian, ports, services as private};

/// Names the file in which the prey, below, says what it has started.
const PREY: &str = "POSTRIDER_TESTS_PREY";

#[tokio::test]
async fn nothing_outlives_a_killed_test_run() {
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("report");
    let mut prey = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "harness::itself::prey"])
        .env(PREY, &report)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let said = eventually("the prey to have started its services", async || {
        let said = std::fs::read_to_string(&report).ok()?;
        said.ends_with('\n').then_some(said)
    })
    .await;
    let (its_folder, its_ports) = said.trim_end().split_once(' ').unwrap();
    let listening =
        || its_ports.split(' ').filter(|port| ports::listens(port.parse().unwrap())).count();
    assert_eq!(listening(), 2);
    prey.kill().unwrap();
    prey.wait().unwrap();
    eventually("its services to end", async || (listening() == 0).then_some(())).await;
    eventually("its folder to go", async || (!Path::new(its_folder).exists()).then_some(())).await;
}

/// A test run within a test run, to be killed; does nothing in an ordinary one.
#[tokio::test]
async fn prey() {
    let Some(report) = std::env::var_os(PREY) else { return };
    let redis = private::redis().await;
    let postgres = private::postgres_alone().await;
    let port = |url: &str| reqwest::Url::parse(url).unwrap().port().unwrap();
    let (redis_port, postgres_port) = (port(&redis.url()), port(&postgres.url()));
    let folder = guardian::folder().display();
    std::fs::write(report, format!("{folder} {redis_port} {postgres_port}\n")).unwrap();
    std::future::pending::<()>().await;
}
