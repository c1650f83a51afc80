//! The command lines of both programs, as somebody in a shell meets them.

use std::process::{Output, Stdio};

use crate::distributed::{Alone, id_of, phone, start};
use crate::harness::processes::{Client, Process, Settings, api_command, settings, worker_command};
use crate::harness::{eventually, services};

fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}{}", text(&output.stdout), text(&output.stderr))
}

/// Settings of the distributed form whose services nobody asks.
fn unasked() -> Settings {
    settings(&[
        ("AMQP_URL", "amqp://127.0.0.1:1"),
        ("REDIS_URL", "redis://127.0.0.1:1"),
        ("DATABASE_URL", "postgres://127.0.0.1:1/sms"),
        ("POSTRIDER_SECRET", "a-secret-of-the-tests-of-more-than-32-bytes"),
    ])
}

#[test]
fn worker_tells_its_arguments_and_version_and_refuses_others() {
    let run = |arguments: &[&str]| {
        let mut command = worker_command(&unasked());
        command.args(arguments).current_dir(services::new_folder("arguments")).output().unwrap()
    };
    let help = run(&["--help"]);
    assert_eq!(help.status.code(), Some(0), "{}", said(&help));
    assert!(said(&help).contains("--lanes"), "{}", said(&help));
    let version = run(&["--version"]);
    assert_eq!(version.status.code(), Some(0));
    assert!(said(&version).contains(env!("CARGO_PKG_VERSION")), "{}", said(&version));
    for wrong in
        [&["--lane", "code"][..], &["--lanes", "fast"], &["--lanes", ""], &["code"], &["serve"]]
    {
        let refused = run(wrong);
        assert_eq!(refused.status.code(), Some(2), "{wrong:?}: {}", said(&refused));
    }
}

#[test]
fn missing_provider_stops_what_sends_and_nothing_else() {
    for command in [&["serve"][..], &[]] {
        let mut api = api_command(&unasked());
        let folder = services::new_folder("no-provider");
        let refused = api.args(command).current_dir(folder).output().unwrap();
        assert_eq!(refused.status.code(), Some(2), "{}", said(&refused));
        assert!(said(&refused).contains("postrider.toml"), "{}", said(&refused));
        assert!(said(&refused).contains("POSTRIDER_SANDBOX"), "{}", said(&refused));
    }
    let commands = [
        &["migrate"][..],
        &["token", "--account", "shop"],
        &["ban", "ip", "203.0.113.7"],
        &["unban", "ip", "203.0.113.7"],
        &["dead", "list"],
        &["purge", "--older-than", "90d"],
    ];
    let tried = commands.map(|command| {
        let mut api = api_command(&unasked());
        api.args(command).current_dir(services::new_folder("no-provider"));
        api.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    });
    for tried in tried {
        let tried = tried.wait_with_output().unwrap();
        assert_eq!(tried.status.code(), Some(1), "the database is unreachable: {}", said(&tried));
        assert!(!said(&tried).contains("provider"), "{}", said(&tried));
    }
}

#[tokio::test]
async fn lanes_on_the_command_line_replace_those_that_are_configured() {
    let lanes = ("POSTRIDER_WORKER__LANES", "code");
    let mut it = start(Alone { more: vec![lanes], ..Alone::default() }).await;
    it.worker.kill();
    it.worker = Process::worker_with(it.settings.clone(), &["--lanes", "notice"]);
    let code = id_of(&it.client.send_code(&phone(1)).await.1);
    let notice = serde_json::json!({
        "template": "parcel", "phone": phone(2), "params": { "number": "7" }
    });
    let (status, sent) = it.client.post("/v1/notices", &notice).await;
    assert_eq!(status, 202, "{sent}");
    it.client.message_once(sent["id"].as_str().unwrap(), "sent").await;
    assert_eq!(it.provider.handed_for(&code).len(), 0, "nobody consumes codes");
    it.stop_worker().await;
    it.worker = Process::worker_with(it.settings.clone(), &["--lanes", "code,notice"]);
    it.client.message_once(&code, "sent").await;
}

#[tokio::test]
async fn token_says_that_it_created_an_account_and_can_refuse_to() {
    let folder = services::new_folder("token");
    let settings = settings(&[("POSTRIDER_DATA_DIR", "data"), ("POSTRIDER_LISTEN", "127.0.0.1:0")]);
    let run = |arguments: &[&str]| {
        let mut command = api_command(&settings);
        command.arg("token").args(arguments).current_dir(&folder).output().unwrap()
    };
    let stderr = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();

    let refused = run(&["--account", "shop", "--existing"]);
    assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
    assert!(refused.stdout.is_empty(), "{}", said(&refused));
    assert!(!folder.join("data/postrider.db").exists(), "nothing was created");

    let created = run(&["--account", "shop"]);
    assert!(created.status.success(), "{}", said(&created));
    assert!(stderr(&created).contains("created account `shop`"), "{}", said(&created));
    assert_eq!(String::from_utf8_lossy(&created.stdout).lines().count(), 1, "the token alone");

    for arguments in [&["--account", "shop"][..], &["--account", "shop", "--existing"]] {
        let known = run(arguments);
        assert!(known.status.success(), "{}", said(&known));
        assert!(!stderr(&known).contains("created"), "{}", said(&known));
    }
    let typo = run(&["--account", "shpo", "--existing"]);
    assert_eq!(typo.status.code(), Some(1), "{}", said(&typo));
    assert!(stderr(&typo).contains("no account `shpo`"), "{}", said(&typo));
    let still = run(&["--account", "shpo", "--existing"]);
    assert_eq!(still.status.code(), Some(1), "the first refusal created nothing");

    for name in ["a b", " shop", "shóp", "a/b", "", &"a".repeat(65)] {
        let refused = run(&["--account", name]);
        assert!(!refused.status.success(), "{name:?}: {}", said(&refused));
        assert!(stderr(&refused).contains("1 to 64"), "{name:?}: {}", said(&refused));
    }
}

#[tokio::test]
async fn settings_that_should_not_stay_are_warned_of_at_the_start() {
    let mut api = Process::api(settings(&[("POSTRIDER_SERVER__TRUSTED_PROXIES", "0.0.0.0/0")]));
    api.url().await;
    eventually("the warning", || async {
        api.output()
            .contains("server.trusted_proxies: 0.0.0.0/0 holds addresses of strangers")
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn database_without_tables_is_reported_once_by_both_programs() {
    const WORDS: &str = "postrider-api migrate";
    let (amqp, redis, database) = (
        services::rabbitmq().await.url(),
        services::redis().await,
        services::postgres().await.url().to_owned(),
    );
    let mut settings = unasked();
    for (name, url) in [("AMQP_URL", amqp), ("REDIS_URL", redis.url()), ("DATABASE_URL", database)]
    {
        settings.insert(name.to_owned(), url);
    }
    settings.insert("POSTRIDER_SANDBOX".to_owned(), "1".to_owned());
    let mut api = Process::api(settings.clone());
    let worker = Process::worker(settings.clone());
    for process in [&api, &worker] {
        eventually("the missing tables to be reported", || async {
            process.output().contains(WORDS).then_some(())
        })
        .await;
    }
    let client = Client::new(api.url().await, String::new());
    for _ in 0..3 {
        assert_eq!(client.get("/readyz").await.0, 503);
        // Each second the API looks whether the store has its bans.
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
    for process in [&api, &worker] {
        assert_eq!(process.output().matches(WORDS).count(), 1, "{}", process.output());
    }
    let migrated = api_command(&settings).arg("migrate").output().unwrap();
    assert!(migrated.status.success(), "{}", said(&migrated));
    eventually("the API to be ready", || async {
        (client.get("/readyz").await.0 == 200).then_some(())
    })
    .await;
}
