//! Accounts at several replicas: what one changes holds at all of them at once; and what an operator's command changes.

use std::io::Write as _;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::harness::eventually;
use crate::harness::processes::{Client, Process, Settings, api_command, settings, token};
use crate::harness::services;
use crate::log_out::{Replicas, read_and_send, start};

const OLD: &str = "correct horse";
const NEW: &str = "battery staple";

fn typed(username: &str) -> Value {
    json!({
        "username": username, "password": OLD, "email": format!("{username}@example.com"),
        "security_question": "pet?", "security_answer": "Rex",
    })
}

async fn log_in(at: &Client, username: &str, password: &str) -> Result<Client, u16> {
    let asked = json!({ "username": username, "password": password });
    let (status, session) = at.post("/v1/sessions", &asked).await;
    match session["token"].as_str() {
        Some(token) if status == 201 => Ok(Client::new(at.url.clone(), token.to_owned())),
        _ => Err(status),
    }
}

/// An account made by an admin at one replica, that may send.
async fn member(it: &Replicas) -> Client {
    let admin = token(&it.settings, &["--account", "root", "--admin"]);
    let admin = Client::new(it.one.url.clone(), admin);
    let nobody = Client::new(it.one.url.clone(), String::new());
    let (status, refused) = nobody.post("/v1/accounts", &typed("member")).await;
    assert_eq!((status, &refused["code"]), (403, &json!("registration_closed")), "{refused}");
    let (status, made) = admin.post("/v1/accounts", &typed("member")).await;
    assert_eq!((status, &made["may_send"]), (201, &json!(false)), "{made}");
    let member = log_in(&it.one, "member", OLD).await.unwrap();
    // The other one learns the account before it is granted anything.
    let there = Client::new(it.other.url.clone(), member.token.clone());
    let sending = (403, "sending_not_allowed".to_owned());
    assert_eq!(read_and_send(&there, "13800138000").await, [(200, String::new()), sending]);
    let path = format!("/v1/accounts/{}", made["id"]);
    let (status, granted) = admin.patch(&path, &json!({ "may_send": true })).await;
    assert_eq!((status, &granted["may_send"]), (200, &json!(true)), "{granted}");
    assert_eq!(
        read_and_send(&there, "13800138000").await,
        [(200, String::new()), (202, String::new())]
    );
    member
}

#[tokio::test]
async fn a_password_changed_at_one_replica_ends_older_tokens_at_the_other_at_once_and_for_good() {
    let it = start().await;
    let member = member(&it).await;
    let there = Client::new(it.other.url.clone(), member.token.clone());
    let change = json!({ "old_password": OLD, "new_password": NEW, "security_answer": "REX" });
    let (status, body) = member.put("/v1/accounts/me/password", &change).await;
    assert_eq!(status, 204, "{body}");
    let refused = [(401, "token_invalid".to_owned()), (401, "token_invalid".to_owned())];
    assert_eq!(read_and_send(&there, "13800138001").await, refused);
    assert_eq!(read_and_send(&member, "13800138001").await, refused);
    assert_eq!(log_in(&it.other, "member", OLD).await.unwrap_err(), 401);
    let renewed = log_in(&it.other, "member", NEW).await.unwrap();

    // A process that never heard of it, and a Redis that lost everything.
    let mut process = Process::api(it.settings.clone());
    let third = Client::new(process.url().await, member.token.clone());
    it.redis.empty().await;
    for client in [&there, &member, &third] {
        let said = eventually("an answer that isn't 503", || async {
            let said = read_and_send(client, "13800138001").await;
            assert!(said.iter().all(|(status, _)| [401, 503].contains(status)), "{said:?}");
            (!said.iter().any(|(status, _)| *status == 503)).then_some(said)
        });
        assert_eq!(said.await, refused);
    }
    let fine = [(200, String::new()), (202, String::new())];
    eventually("the store to be itself again", || async {
        (renewed.get("/v1/messages").await.0 != 503).then_some(())
    })
    .await;
    assert_eq!(read_and_send(&renewed, "13800138001").await, fine);
    let logs = it.processes.iter().map(Process::output).collect::<String>();
    for secret in [OLD, NEW, "REX", "argon2", "member@example.com", &renewed.token] {
        assert!(!logs.contains(secret), "no log holds {secret}");
    }
}

#[tokio::test]
async fn failed_log_ins_count_over_all_replicas() {
    let it = start().await;
    let mut answers = Vec::new();
    for n in 0..12 {
        let at = if n % 2 == 0 { &it.one } else { &it.other };
        answers.push(log_in(at, "nobody", OLD).await.unwrap_err());
    }
    assert_eq!(answers, [[401; 10].as_slice(), [429; 2].as_slice()].concat());
}

fn set_password(settings: &Settings, account: &str, line: &str) -> (bool, String) {
    let mut command = api_command(settings);
    command.args(["account", "set-password", "--account", account]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(line.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

#[tokio::test]
async fn an_operator_gives_an_account_a_password_beside_a_running_service() {
    let data = services::new_folder("embedded");
    let settings = settings(&[("POSTRIDER_DATA_DIR", data.to_str().unwrap())]);
    let mut process = Process::api(settings.clone());
    let url = process.url().await;
    let admin = Client::new(url, process.token(&["--account", "ops", "--admin"]));
    assert_eq!(admin.get("/v1/queues").await.0, 200);
    assert_eq!(log_in(&admin, "ops", OLD).await.unwrap_err(), 401);
    let (fine, text) = set_password(&settings, "ops", &format!("{OLD}\n"));
    assert!(fine, "{text}");
    assert!(!text.contains(OLD), "{text}");
    assert_eq!(admin.get("/v1/queues").await.0, 401, "older tokens have ended");
    let session = log_in(&admin, "ops", OLD).await.unwrap();
    assert_eq!(session.get("/v1/queues").await.0, 200, "what an admin logs in with is an admin's");
    for (account, line, said) in
        [("nobody", OLD, "there is no account"), ("ops", "short", "at least 8 characters")]
    {
        let (fine, text) = set_password(&settings, account, line);
        assert!(!fine && text.contains(said), "{text}");
    }
    assert_eq!(session.get("/v1/queues").await.0, 200, "what was refused changed nothing");
}
