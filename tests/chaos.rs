//! What the distributed form survives: a run, drawn from a seed, of requests and faults side by side, and the proof
//! afterwards that nothing was lost, doubled, late or let through. `scripts/chaos` runs longer ones.

#![expect(
    unreachable_pub,
    reason = "nothing is outside of a test binary: pub is for its other modules"
)]

mod befall;
mod checks;
mod clock;
mod evidence;
mod gather;
mod load;
mod plan;
mod system;

use std::time::Duration;

use tokio::time::Instant;

use befall::{Journal, befall};
use clock::Clock;
use evidence::Evidence;
use plan::Plan;
use system::{Form, System};

/// The run that every test run makes.
const SEED: u64 = 20_251_121;
const SECONDS: u64 = 60;

/// Does what is planned, and gathers what is known of it afterwards.
async fn run(plan: &Plan, form: Form) -> (Evidence, Vec<String>) {
    println!("{plan}");
    let clock = Clock::new();
    let System { outside, inside, addresses } = system::start(form).await;
    let providers = outside.providers.clone();
    let (begun, journal) = (Instant::now(), Journal::default());
    println!("begun:");
    let load = {
        let (plan, addresses, providers) = (plan.clone(), addresses.clone(), providers.clone());
        tokio::spawn(async move { load::drive(&plan, &addresses, &providers, begun, clock).await })
    };
    // Tasks of their own: a service's start blocks.
    let outside = befall(outside, plan.outside.clone(), begun, clock, journal.clone());
    let inside = befall(inside, plan.inside.clone(), begun, clock, journal.clone());
    let (outside, inside) = (tokio::spawn(outside), tokio::spawn(inside));
    let (_outside, inside) = (outside.await.unwrap(), inside.await.unwrap());
    let calm = Instant::now();
    let recovered = gather::recovered(&addresses, calm).await;
    let told = load.await.unwrap();
    let (drained, left) = gather::drained(&addresses, calm.max(begun + plan.lasts)).await;
    let (rows, attempts, dead) = gather::tables(&addresses).await;
    let faults = std::mem::take(&mut *journal.lock().unwrap());
    let evidence = Evidence {
        sends: told.sends,
        checks: told.checks,
        bans: told.bans,
        poison: told.poison,
        calls: gather::calls(&providers, clock),
        rows,
        attempts,
        dead,
        faults,
        left,
        rules: system::rules(),
        recovered,
        drained,
    };
    (evidence, inside.logs())
}

/// Shows what every check found. Fails where one found something wrong that nothing excuses.
fn prove(evidence: &Evidence, logs: &[String]) {
    let findings = checks::all(evidence);
    for finding in &findings {
        println!("{finding}");
    }
    let wrong = findings.iter().filter(|finding| !finding.wrong.is_empty());
    let names: Vec<_> = wrong.map(|finding| finding.name).collect();
    if !names.is_empty() {
        for log in logs {
            println!(
                "---- a log ends with\n{}",
                &log[log.floor_char_boundary(log.len().saturating_sub(4_000))..]
            );
        }
    }
    assert!(names.is_empty(), "these don't hold: {names:?}");
}

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name)
        .map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

fn asked(plan: fn(u64, Duration) -> Plan) -> Plan {
    let seconds = number("POSTRIDER_CHAOS_SECONDS", SECONDS);
    plan(number("POSTRIDER_CHAOS_SEED", SEED), Duration::from_secs(seconds))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn under_load_and_faults_nothing_is_lost_doubled_late_or_let_through() {
    let (evidence, logs) = run(&asked(Plan::of), Form::Plain).await;
    prove(&evidence, &logs);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "scripts/chaos --scenario rabbitmq-cluster"]
async fn a_cluster_of_three_that_loses_nodes_loses_no_message() {
    let (evidence, logs) = run(&asked(Plan::of_cluster), Form::RabbitCluster).await;
    prove(&evidence, &logs);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "scripts/chaos --scenario redis-sentinel"]
async fn a_redis_that_fails_over_loses_no_row() {
    let (evidence, logs) = run(&asked(Plan::of_sentinel), Form::RedisSentinel).await;
    prove(&evidence, &logs);
}
