//! The embedded product, as a newcomer starts it and as one machine runs it: one process, one folder.

use futures::future::join_all;
use postrider_common::sqlite::Sqlite;
use serde_json::json;

use crate::harness::processes::{Client, Process, Settings, api_command, settings};
use crate::harness::{eventually, services};

struct Embedded {
    process: Process,
    client: Client,
    settings: Settings,
}

async fn start(more: &[(&str, &str)]) -> Embedded {
    let data = services::new_folder("embedded");
    let mut settings = settings(more);
    settings.insert("POSTRIDER_DATA_DIR".to_owned(), data.display().to_string());
    let mut process = Process::api(settings.clone());
    let url = process.url().await;
    let token = process.token(&["--account", "shop"]);
    Embedded { process, client: Client::new(url, token), settings }
}

#[tokio::test]
async fn a_code_is_sent_read_in_the_sandbox_and_verified_once() {
    let Embedded { process: _process, client, .. } = start(&[]).await;
    let (status, sent) = client.send_code("13800138000").await;
    assert_eq!((status, &sent["status"]), (202, &json!("accepted")), "{sent}");
    let message = sent["message_id"].as_str().unwrap();
    let code = client.sandbox_code(message).await;

    let wrong = if code == "000000" { "111111" } else { "000000" };
    let (status, body) = client.check("13800138000", wrong).await;
    assert_eq!(
        (status, &body["code"], &body["attempts_left"]),
        (422, &json!("code_mismatch"), &json!(4))
    );
    let (status, body) = client.check("13800138000", &code).await;
    assert_eq!((status, &body["status"]), (200, &json!("approved")), "{body}");
    let (status, body) = client.check("13800138000", &code).await;
    assert_eq!((status, &body["code"]), (409, &json!("already_used")), "{body}");

    let row = client.message_once(message, "sent").await;
    assert_eq!((&row["phone"], &row["attempts"]), (&json!("+86138****8000"), &json!(1)), "{row}");
    eventually("verify_time to be set", || async {
        let (_, row) = client.get(&format!("/v1/messages/{message}")).await;
        row["verified_at"].is_string().then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_api_describes_itself_and_its_page_needs_nothing_from_outside() {
    let Embedded { process: _process, client, .. } = start(&[]).await;
    let (status, described) = client.get("/openapi.json").await;
    assert_eq!((status, &described), (200, postrider_api::openapi::document()));
    let page = client.text("/docs/").await;
    let named = page.split(['"', ' ']).filter(|text| text.contains('.') && !text.contains('<'));
    let named: Vec<_> = named.map(|name| name.trim_start_matches("./")).collect();
    assert!(named.contains(&"swagger-ui-bundle.js"), "{page}");
    for name in named {
        assert!(!client.text(&format!("/docs/{name}")).await.is_empty(), "{name}");
    }
    assert!(client.text("/docs/swagger-initializer.js").await.contains("\"/openapi.json\""));
    assert!(!page.contains("://"), "{page}");
}

#[tokio::test]
async fn of_a_hundred_sends_at_once_one_is_accepted_and_of_a_hundred_checks_one_is_approved() {
    let Embedded { process: _process, client, .. } =
        start(&[("POSTRIDER_LIMITS__CODE__IP", "1000/60s")]).await;
    let sends = join_all((0..100).map(|_| client.send_code("13800138000"))).await;
    let accepted: Vec<_> = sends.iter().filter(|(status, _)| *status == 202).collect();
    assert_eq!(accepted.len(), 1);
    assert_eq!(
        sends
            .iter()
            .filter(|(status, body)| *status == 429 && body["code"] == "phone_limited")
            .count(),
        99
    );

    let code = client.sandbox_code(accepted[0].1["message_id"].as_str().unwrap()).await;
    let checks = join_all((0..100).map(|_| client.check("13800138000", &code))).await;
    assert_eq!(checks.iter().filter(|(status, _)| *status == 200).count(), 1);
    assert_eq!(
        checks
            .iter()
            .filter(|(status, body)| *status == 409 && body["code"] == "already_used")
            .count(),
        99
    );
}

#[tokio::test]
async fn what_was_accepted_survives_kill_9() {
    let Embedded { mut process, client, .. } = start(&[
        ("POSTRIDER_LIMITS__CODE__IP", "1000/60s"),
        ("POSTRIDER_LIMITS__CODE__GLOBAL", "5000/60s"),
    ])
    .await;
    let phones: Vec<String> = (0..200).map(|n| format!("138001{n:05}")).collect();
    let sends = join_all(phones.iter().map(|phone| client.send_code(phone))).await;
    process.kill();
    process.start();
    let client = Client::new(process.url().await, client.token);
    for (status, body) in sends {
        assert_eq!(status, 202, "{body}");
        client.message_once(body["message_id"].as_str().unwrap(), "sent").await;
    }
    let (status, body) = client.send_code(&phones[0]).await;
    assert_eq!(
        (status, &body["code"]),
        (429, &json!("phone_limited")),
        "limits survive too: {body}"
    );
}

#[tokio::test]
async fn a_folder_has_one_server_and_commands_work_beside_it() {
    // This machine's own addresses are safe from bans, unless the operator says otherwise.
    let safe = ("POSTRIDER_BANS__SAFE_NETWORKS", "");
    let Embedded { process: _process, client, settings } = start(&[safe]).await;
    let second = api_command(&settings).env("POSTRIDER_LISTEN", "127.0.0.1:0").output().unwrap();
    assert!(!second.status.success(), "a second server on the same data must not start");

    let run = |arguments: &[&str]| api_command(&settings).args(arguments).output().unwrap();
    let ban = |arguments: &[&str]| {
        let output = run(arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    for wide in [["cidr", "0.0.0.0/0"], ["cidr", "::ffff:0:0/96"], ["phone_prefix", "+861"]] {
        let refused = run(&["ban", wide[0], wide[1]]);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && said.contains("add --force"), "{wide:?}: {said}");
        assert_eq!(client.check("13900139000", "000000").await.0, 404, "nobody is banned");
        ban(&["ban", wide[0], wide[1], "--force"]);
        assert_eq!(client.check("13900139000", "000000").await.0, 403, "{wide:?}");
        ban(&["unban", wide[0], wide[1]]);
    }
    ban(&["ban", "phone", "13900139000"]);
    let (status, body) = client.send_code("13900139000").await;
    assert_eq!((status, &body["code"]), (403, &json!("phone_blocked")), "{body}");
    ban(&["unban", "phone", "13900139000"]);
    assert_eq!(client.send_code("13900139000").await.0, 202);
    ban(&["ban", "cidr", "127.0.0.0/8", "--for", "30m"]);
    let (status, body) = client.send_code("13700137000").await;
    assert_eq!((status, &body["code"]), (403, &json!("ip_blocked")), "{body}");
}

#[tokio::test]
async fn what_is_old_is_purged_beside_a_running_server() {
    let Embedded { process: _process, client, settings } = start(&[]).await;
    let (_, sent) = client.send_code("13800138000").await;
    let message = sent["message_id"].as_str().unwrap();
    client.message_once(message, "sent").await;
    let data = std::path::Path::new(&settings["POSTRIDER_DATA_DIR"]);
    let sqlite = Sqlite::open(&data.join("postrider.db")).await.unwrap();
    let age = |days: i64| {
        let ago = days * 86_400_000;
        let sql = "UPDATE sms_log SET create_time = create_time - ?1";
        sqlite.write(move |connection| {
            Box::pin(async move { sqlx::query(sql).bind(ago).execute(connection).await.map(drop) })
        })
    };
    let purge = |arguments: &[&str]| {
        let purge = ["purge", "--older-than", "90d"];
        let output = api_command(&settings).args(purge).args(arguments).output().unwrap();
        let (said, log) = (String::from_utf8(output.stdout).unwrap(), output.stderr);
        assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&log));
        let counts = said.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
        let counts = counts.map(|words| format!("{} {}", words[1], words[0])).collect::<Vec<_>>();
        counts.join(", ")
    };
    let counted = |messages: u64, attempts: u64| {
        format!(
            "dead_letter 0, sms_log {messages}, sms_attempt {attempts}, sms_refusal 0, \
             sms_blacklist_change 0, sms_blacklist 0, revocation 0"
        )
    };
    let shown = async || client.get(&format!("/v1/messages/{message}")).await.0;
    age(89).await.unwrap();
    assert_eq!(purge(&[]), counted(0, 0));
    age(2).await.unwrap();
    assert_eq!(purge(&["--dry-run"]), counted(1, 1));
    assert_eq!(shown().await, 200);
    assert_eq!(purge(&[]), counted(1, 1));
    assert_eq!(client.get("/v1/messages").await.1["messages"], json!([]));
    assert_eq!(client.send_code("13900139000").await.0, 202, "the server goes on");
    let refused = api_command(&settings).args(["purge", "--older-than", "23h"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(2), "{}", String::from_utf8_lossy(&refused.stderr));
}

/// With a secret of one's own nothing but the service creates the folder.
#[tokio::test]
async fn starts_and_makes_tokens_in_a_new_folder_with_a_given_secret() {
    let folder = services::new_folder("new-data");
    let settings = |name: &str| {
        let data = folder.join(name).join("data");
        settings(&[
            ("POSTRIDER_DATA_DIR", data.to_str().unwrap()),
            ("POSTRIDER_SECRET", "a-secret-of-the-tests-of-more-than-32-bytes"),
        ])
    };
    let mode = |settings: &Settings| {
        let data = std::fs::metadata(&settings["POSTRIDER_DATA_DIR"]).unwrap();
        std::os::unix::fs::PermissionsExt::mode(&data.permissions()) & 0o777
    };
    let served = settings("served");
    let mut process = Process::api(served.clone());
    let client = Client::new(process.url().await, process.token(&["--account", "shop"]));
    assert_eq!(client.send_code("13800138000").await.0, 202);
    assert_eq!(mode(&served), 0o700);
    let of_token = settings("token");
    crate::harness::processes::token(&of_token, &["--account", "shop"]);
    assert_eq!(mode(&of_token), 0o700);
}

/// As cron would run it, without the service's environment.
#[tokio::test]
async fn a_command_that_finds_no_database_says_so_and_makes_none() {
    let data = services::new_folder("empty").join("data");
    let settings = settings(&[("POSTRIDER_DATA_DIR", data.to_str().unwrap())]);
    for command in [&["purge", "--older-than", "90d"][..], &["dead", "list"]] {
        let output = api_command(&settings).args(command).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains("there is no "), "{command:?}: {said}");
        assert!(!data.join("postrider.db").exists(), "{command:?}");
    }
}

#[tokio::test]
async fn who_may_not_gets_nothing() {
    let Embedded { mut process, client, .. } = start(&[]).await;
    let (_, sent) = client.send_code("13800138000").await;
    let message = format!("/v1/messages/{}", sent["message_id"].as_str().unwrap());
    let stranger = Client::new(process.url().await, process.token(&["--account", "stranger"]));
    assert_eq!(stranger.get(&message).await.0, 404);
    let nobody = Client::new(client.url.clone(), "nonsense".to_owned());
    for path in ["/v1/messages", &message, "/v1/queues", "/metrics", "/sandbox/messages"] {
        assert_eq!(nobody.get(path).await.0, 401, "{path}");
    }
    for path in ["/v1/queues", "/metrics"] {
        assert_eq!(client.get(path).await.0, 403, "{path} is for admins");
    }
    let admin = Client::new(client.url.clone(), process.token(&["--account", "root", "--admin"]));
    let (status, queues) = admin.get("/v1/queues").await;
    assert_eq!(status, 200);
    let names: Vec<_> =
        queues["queues"].as_array().unwrap().iter().map(|q| q["name"].clone()).collect();
    assert!(
        names.contains(&json!("sms.code")) && names.contains(&json!("sms.retry.64")),
        "{names:?}"
    );
}

#[tokio::test]
async fn a_repeated_key_is_answered_again_and_sends_nothing() {
    let Embedded { process: _process, client, .. } = start(&[]).await;
    let body = json!({ "phone": "13800138000", "purpose": "login" });
    let first = client.try_post("/v1/verifications", "key-1", &body).await.unwrap();
    let again = client.try_post("/v1/verifications", "key-1", &body).await.unwrap();
    assert_eq!((first.0, &first), (202, &again));
    let other = json!({ "phone": "13900139000", "purpose": "login" });
    let (status, body) = client.try_post("/v1/verifications", "key-1", &other).await.unwrap();
    assert_eq!((status, &body["code"]), (422, &json!("idempotency_key_reused")));
}

#[tokio::test]
async fn no_code_token_or_whole_number_is_logged() {
    let Embedded { process, client, .. } = start(&[("POSTRIDER_LOG__FILTER", "trace")]).await;
    let (_, sent) = client.send_code("13812345678").await;
    let message = sent["message_id"].as_str().unwrap();
    let code = client.sandbox_code(message).await;
    client.check("13812345678", &code).await;
    client.get("/v1/messages?phone=13812345678").await;
    client.message_once(message, "sent").await;
    let log = process.output();
    let log = log.split_once("curl").map_or(log.as_str(), |_| log.rsplit_once("CODE").unwrap().1);
    for secret in [client.token.as_str(), "13812345678"] {
        let place = log
            .find(secret)
            .map(|at| log[at.saturating_sub(120)..].chars().take(200).collect::<String>());
        assert!(place.is_none(), "a secret is in the log: {place:?}");
    }
    assert!(
        !log.contains(&format!("{code}，")) && !log.contains(&format!("\"{code}\"")),
        "the code is in the log"
    );
}

#[tokio::test]
async fn a_symmetric_key_among_the_identity_providers_keeps_it_from_starting() {
    let folder = services::new_folder("jwks");
    let file = folder.join("jwks.json");
    std::fs::write(&file, r#"{"keys":[{"kty":"oct","kid":"a","k":"c2VjcmV0"}]}"#).unwrap();
    let settings = settings(&[
        ("POSTRIDER_JWT__JWKS_FILE", file.to_str().unwrap()),
        ("POSTRIDER_JWT__ISSUER", "https://id.example.com/"),
        ("POSTRIDER_JWT__AUDIENCE", "sms"),
        ("POSTRIDER_LISTEN", "127.0.0.1:0"),
    ]);
    let output = api_command(&settings).current_dir(&folder).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("jwt.jwks_file") && said.contains("symmetric"), "{said}");
    assert!(!said.contains("c2VjcmV0"), "{said}");
}

#[tokio::test]
async fn a_wrong_setting_is_named_and_exits_2() {
    for (name, value) in [
        ("POSTRIDER_CODE__LENGTH", "3"),
        ("AMQP_URL", "amqp://localhost"),
        ("POSTRIDER_SECRET", "short"),
    ] {
        let output = api_command(&settings(&[(name, value)]))
            .current_dir(services::new_folder("wrong"))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        let named = if name == "POSTRIDER_CODE__LENGTH" { "code.length" } else { name };
        assert!(said.contains(named), "{said}");
    }
    let mut worker = Process::worker(Settings::new());
    assert_eq!(worker.ended().await, Some(2), "a worker alone is distributed: {}", worker.output());
}
