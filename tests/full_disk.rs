//! The embedded form on a disk that is full for a while.

use serde_json::json;

use crate::harness::eventually;
use crate::harness::processes::{Client, Process, settings};

/// The token that a trial prints.
fn printed_token(process: &Process) -> String {
    let output = process.output();
    let (_, rest) = output.split_once("Bearer ").unwrap();
    rest.split('\'').next().unwrap().to_owned()
}

fn phone(number: usize) -> String {
    format!("138001{number:05}")
}

#[tokio::test]
async fn goes_on_once_a_full_disk_has_room_again() {
    let limits = ("POSTRIDER_LIMITS__CODE__IP", "100000/60s");
    let mut process = Process::api_on_a_small_disk(settings(&[limits]), 24);
    let client = Client::new(process.url().await, printed_token(&process));
    let ready = async || client.get("/readyz").await;
    assert_eq!(ready().await.0, 200);
    let (mut accepted, mut refused) = (Vec::new(), Vec::new());
    for number in 0..3 {
        let (status, body) = client.send_code(&phone(number)).await;
        assert_eq!(status, 202, "{body}");
        accepted.push(body["message_id"].as_str().unwrap().to_owned());
    }
    process.fill_disk();
    // Until nothing that was set aside before is left of the disk.
    while refused.len() < 10 {
        let number = accepted.len() + refused.len();
        let (status, body) = client.send_code(&phone(number)).await;
        if status == 202 {
            accepted.push(body["message_id"].as_str().unwrap().to_owned());
        } else {
            assert_eq!((status, &body["code"]), (503, &json!("store_unavailable")), "{body}");
            refused.push(phone(number));
        }
        assert!(accepted.len() < 20_000, "the disk is never full");
    }
    let (status, body) = ready().await;
    assert_eq!((status, &body["store"]), (503, &json!("down")), "{body}");
    assert_eq!((&body["queue"], &body["database"]), (&json!("down"), &json!("down")), "{body}");
    // Longer than readiness is remembered.
    for _ in 0..12 {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        assert_eq!(ready().await.0, 503);
    }

    process.empty_disk();
    eventually("it to be ready", async || (ready().await.0 == 200).then_some(())).await;
    for phone in &refused {
        // Nothing of the refused ones was counted or kept.
        let (status, body) = client.send_code(phone).await;
        assert_eq!(status, 202, "{body}");
        accepted.push(body["message_id"].as_str().unwrap().to_owned());
    }
    for id in &accepted {
        client.message_once(id, "sent").await;
    }
    let log = process.output();
    let said = |what: &str| log.lines().filter(|line| line.contains(what)).count();
    assert_eq!(said("the disk is full"), 1, "{log}");
    assert_eq!(said("takes writes again"), 1, "{log}");
    // Beside the requests' own lines.
    let warns = |line: &&str| line.contains(" WARN ") || line.contains("ERROR");
    let warnings = log.lines().filter(warns).filter(|line| !line.contains("a request failed"));
    assert!(warnings.count() < 10, "{log}");
}
