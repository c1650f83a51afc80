//! The real binaries start with the settings they are given, answer, are killed and started again, and end by SIGTERM.

use serde_json::json;

use crate::harness::processes::{Client, Process, api_command, settings};

#[tokio::test]
async fn an_embedded_process_keeps_what_it_sent_over_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(&[("POSTRIDER_DATA_DIR", folder.path().to_str().unwrap())]);
    let mut process = Process::api(settings);
    let url = process.url().await;
    let client = Client::new(url, process.token(&["--account", "shop"]));
    let (status, sent) = client.send_code("13800138000").await;
    assert_eq!(status, 202, "{sent}\n{}", process.output());
    let id = sent["message_id"].as_str().unwrap();
    let code = client.sandbox_code(id).await;
    client.message_once(id, "sent").await;

    process.kill();
    process.start();
    let client = Client::new(process.url().await, client.token);
    let (status, checked) = client.check("13800138000", &code).await;
    assert_eq!((status, &checked["status"]), (200, &json!("approved")));
    let body = json!({ "id": sent["id"], "code": code });
    let (status, _) = client.try_post("/v1/verifications/check", "", &body).await.unwrap();
    assert_eq!(status, 409);

    process.signal("TERM");
    assert_eq!(process.ended().await, Some(0));
    assert!(client.try_post("/v1/verifications/check", "", &body).await.is_err());
}

#[tokio::test]
async fn a_worker_with_half_of_its_settings_says_so_and_ends() {
    let mut process = Process::worker(settings(&[("AMQP_URL", "amqp://127.0.0.1")]));
    assert_eq!(process.ended().await, Some(2), "{}", process.output());
    let help = api_command(&settings(&[])).arg("--help").output().unwrap();
    assert!(help.status.success());
}
