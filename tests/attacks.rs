//! What somebody would try who wants to send, guess or read what isn't theirs. Each test fails without its defence.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::harness::eventually;
use crate::harness::processes::{Client, Process, Settings, settings};
use crate::harness::services;

struct Target {
    process: Process,
    client: Client,
}

async fn start(more: &[(&str, &str)]) -> Target {
    let data = services::new_folder("attacked");
    let mut settings: Settings = settings(more);
    settings.insert("POSTRIDER_DATA_DIR".to_owned(), data.display().to_string());
    let mut process = Process::api(settings);
    let url = process.url().await;
    let token = process.token(&["--account", "shop"]);
    Target { process, client: Client::new(url, token) }
}

impl Target {
    fn of(&self, arguments: &[&str]) -> Client {
        Client::new(self.client.url.clone(), self.process.token(arguments))
    }

    /// Sends bytes as they are; gives all that comes back until the server closes or is silent for a second.
    fn raw(&self, bytes: &str) -> Raw {
        let address = self.client.url.strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        stream.write_all(bytes.as_bytes()).unwrap();
        let mut answer = Vec::new();
        let mut buffer = [0; 4096];
        let closed = loop {
            match stream.read(&mut buffer) {
                Ok(0) => break true,
                Ok(read) => answer.extend_from_slice(&buffer[..read]),
                Err(_) => break false,
            }
        };
        Raw { text: String::from_utf8_lossy(&answer).into_owned(), closed }
    }
}

struct Raw {
    text: String,
    closed: bool,
}

impl Raw {
    fn statuses(&self) -> Vec<&str> {
        let lines = self.text.lines().filter(|line| line.starts_with("HTTP/1."));
        lines.map(|line| line.split(' ').nth(1).unwrap()).collect()
    }
}

fn phone(n: usize) -> String {
    format!("138{n:08}")
}

fn code_of(answer: &(u16, Value)) -> (u16, &str) {
    (answer.0, answer.1["code"].as_str().unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spoofed_address_of_a_peer_that_is_not_trusted_changes_nothing() {
    let it = start(&[("POSTRIDER_LIMITS__CODE__IP", "3/60s")]).await;
    let host = "Host: postrider\r\nContent-Type: application/json";
    let token = &it.client.token;
    let mut statuses = Vec::new();
    for (n, header) in [
        "X-Forwarded-For: 203.0.113.1",
        "X-Forwarded-For: 203.0.113.2\r\nX-Forwarded-For: 203.0.113.3",
        "X-Real-IP: 203.0.113.4\r\nTrue-Client-IP: 203.0.113.4\r\nCF-Connecting-IP: 203.0.113.4",
        "Forwarded: for=203.0.113.5",
        "X-Forwarded-For: 127.0.0.1, 203.0.113.6",
    ]
    .into_iter()
    .enumerate()
    {
        let body = json!({"phone": phone(n), "purpose": "login", "client_ip": "203.0.113.9"});
        let body = body.to_string();
        let raw = it.raw(&format!(
            "POST /v1/verifications HTTP/1.1\r\n{host}\r\n{header}\r\nAuthorization: Bearer {token}\r\n\
             Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ));
        statuses.push(raw.statuses()[0].to_owned());
    }
    assert_eq!(statuses, ["202", "202", "202", "429", "429"]);
}

#[tokio::test]
async fn behind_a_trusted_proxy_the_right_most_address_counts() {
    let trusted = ("POSTRIDER_SERVER__TRUSTED_PROXIES", "127.0.0.0/8");
    let it = start(&[("POSTRIDER_LIMITS__CODE__IP", "1/60s"), trusted]).await;
    let mut answers = Vec::new();
    for (n, forwarded) in
        ["203.0.113.1", "198.51.100.1, 203.0.113.1", "203.0.113.2"].into_iter().enumerate()
    {
        let client = it.client.clone().with_header("x-forwarded-for", forwarded);
        answers.push(client.send_code(&phone(n)).await.0);
    }
    assert_eq!(answers, [202, 429, 202], "what stands left could have been written by anybody");
}

#[tokio::test]
async fn a_code_is_not_guessed_from_many_addresses() {
    let it = start(&[]).await;
    let back_end = it.of(&["--account", "back-end", "--scope", "on_behalf"]);
    let body = json!({"phone": phone(1), "purpose": "login", "client_ip": "198.51.100.1"});
    let (status, sent) = back_end.post("/v1/verifications", &body).await;
    assert_eq!(status, 202, "{sent}");
    let code = back_end.sandbox_code(sent["message_id"].as_str().unwrap()).await;
    let guess = async |n: u32, code: &str| {
        let ip = format!("203.0.113.{n}");
        let body = json!({"phone": phone(1), "purpose": "login", "code": code, "client_ip": ip});
        back_end.post("/v1/verifications/check", &body).await
    };
    let wrong = format!("{:06}", (code.parse::<u32>().unwrap() + 1) % 1_000_000);
    for n in 1..=5 {
        let answer = guess(n, &wrong).await;
        assert_eq!(code_of(&answer), (422, "code_mismatch"));
        assert_eq!(answer.1["attempts_left"], 5 - n);
    }
    assert_eq!(code_of(&guess(6, &wrong).await), (429, "too_many_attempts"));
    assert_eq!(code_of(&guess(7, &code).await), (429, "too_many_attempts"), "also the right one");
    let id = sent["id"].as_str().unwrap();
    let by_id = back_end.post("/v1/verifications/check", &json!({"id": id, "code": code})).await;
    assert_eq!(code_of(&by_id), (429, "too_many_attempts"), "nor by another way");
}

#[tokio::test]
async fn guesses_for_a_phone_are_limited_over_all_its_codes_and_ban_its_accounts_checks() {
    let any = ("POSTRIDER_CODE__ANY_PURPOSE", "true");
    let it = start(&[("POSTRIDER_LIMITS__CODE__PHONE", "1000/60s"), any]).await;
    let back_end = it.of(&["--account", "back-end", "--scope", "on_behalf"]);
    let mut answers = Vec::new();
    for n in 0..12 {
        // A new code for each purpose, a new address for each guess; by the code's id every other time.
        let purpose = format!("purpose-{}", n / 4);
        let ip = format!("203.0.113.{n}");
        let body = json!({"phone": phone(1), "purpose": purpose, "client_ip": ip});
        let (_, sent) = back_end.post("/v1/verifications", &body).await;
        let body = if n % 2 == 0 && sent["id"].is_string() {
            json!({"id": sent["id"], "code": "x", "client_ip": ip})
        } else {
            json!({"phone": phone(1), "purpose": purpose, "code": "x", "client_ip": ip})
        };
        answers.push(back_end.post("/v1/verifications/check", &body).await);
    }
    let first: Vec<_> = answers[..10].iter().map(code_of).collect();
    assert_eq!(first, [(422, "code_mismatch"); 10]);
    let last: Vec<_> = answers[10..].iter().map(code_of).collect();
    assert_eq!(last, [(429, "phone_limited"); 2]);
    let ops = it.of(&["--account", "ops", "--admin"]);
    let made = eventually("the ban to be in the table", || async {
        let (_, page) = ops.get("/v1/blacklist").await;
        page["items"].as_array().filter(|items| !items.is_empty()).cloned()
    })
    .await;
    assert_eq!(made.len(), 1, "{made:?}");
    assert_eq!(made[0]["kind"], "account_phone");
    let elsewhere = it.of(&["--account", "another"]);
    assert_eq!(elsewhere.send_code(&phone(1)).await.0, 202, "another account has its user");
    let checked = elsewhere.check(&phone(1), "x").await;
    assert_eq!(code_of(&checked), (422, "code_mismatch"));
}

#[tokio::test]
async fn guesses_by_three_accounts_ban_the_phone_everywhere() {
    let it = start(&[]).await;
    let mut answers = Vec::new();
    for account in ["one", "two", "three"] {
        let attacker = it.of(&["--account", account]);
        assert_eq!(attacker.send_code(&phone(1)).await.0, 202, "{account}");
        for _ in 0..4 {
            answers.push(attacker.check(&phone(1), "x").await);
        }
    }
    let first: Vec<_> = answers[..10].iter().map(code_of).collect();
    assert_eq!(first, [(422, "code_mismatch"); 10]);
    assert_eq!(code_of(&answers[10]), (403, "phone_blocked"), "ten failures of three accounts");
    let elsewhere = it.of(&["--account", "another"]);
    assert_eq!(code_of(&elsewhere.send_code(&phone(1)).await), (403, "phone_blocked"));
}

#[tokio::test]
async fn an_idempotency_key_of_another_account_gives_nothing_of_its_answer() {
    let it = start(&[]).await;
    let thief = it.of(&["--account", "thief"]);
    let body = json!({"phone": phone(1), "purpose": "login"});
    let path = "/v1/verifications";
    let (_, theirs) = it.client.try_post(path, "key-1", &body).await.unwrap();
    let (status, own) = thief.try_post(path, "key-1", &body).await.unwrap();
    assert_eq!(status, 202);
    assert_ne!(own["message_id"], theirs["message_id"]);
    assert_ne!(own["id"], theirs["id"]);
    let other = json!({"phone": phone(2), "purpose": "login"});
    let (status, _) = it.of(&["--account", "third"]).try_post(path, "key-1", &other).await.unwrap();
    assert_eq!(status, 202, "a key isn't taken by another account's use of it");
}

#[tokio::test]
async fn what_is_another_accounts_is_as_if_it_were_not_there() {
    let it = start(&[]).await;
    let (_, sent) = it.client.send_code(&phone(1)).await;
    let (id, message) = (sent["id"].as_str().unwrap(), sent["message_id"].as_str().unwrap());
    let code = it.client.sandbox_code(message).await;
    it.client.message_once(message, "sent").await;
    let thief = it.of(&["--account", "thief"]);
    for path in [format!("/v1/messages/{message}"), format!("/v1/verifications/{id}")] {
        let (status, mut there) = thief.get(&path).await;
        let absent = path.replace(&path[path.len() - 12..], "0123456789ab");
        let (_, mut not_there) = thief.get(&absent).await;
        there["request_id"] = json!("");
        not_there["request_id"] = json!("");
        assert_eq!((status, &there), (404, &not_there), "{path}");
    }
    for body in [
        json!({"id": id, "code": code}),
        json!({"phone": phone(1), "purpose": "login", "code": code}),
    ] {
        let answer = thief.post("/v1/verifications/check", &body).await;
        assert_eq!(code_of(&answer), (404, "verification_not_found"));
    }
    for path in [format!("/v1/messages?phone={}", phone(1)), "/sandbox/messages".to_owned()] {
        assert_eq!(thief.get(&path).await.1["messages"], json!([]), "{path}");
    }
    let approved = it.client.check(&phone(1), &code).await;
    assert_eq!(approved.0, 200, "and none of it spent an attempt of its owner's");
}

#[tokio::test]
async fn a_forged_token_opens_nothing() {
    let it = start(&[]).await;
    let token = it.process.token(&["--account", "ops", "--admin"]);
    let mut parts: Vec<&str> = token.split('.').collect();
    let encoded = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let read = |part: &str| -> Value {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    };
    let (header, claims, signature) = (read(parts[0]), read(parts[1]), parts.remove(2));
    let with = |member: &str, value: Value| {
        let mut header = header.clone();
        header[member] = value;
        encoded(header)
    };
    let mut others = claims.clone();
    others["sub"] = json!("1");
    let good = encoded(claims.clone());
    for (forged, what) in [
        (format!("{}.{good}.", with("alg", json!("none"))), "alg none, unsigned"),
        (format!("{}.{good}.{signature}", with("alg", json!("none"))), "alg none"),
        (format!("{}.{good}.{signature}", with("alg", json!("RS256"))), "another algorithm"),
        (format!("{}.{good}.{signature}", with("kid", json!("../../dev/null"))), "a foreign kid"),
        (format!("{}.{good}.{signature}", with("jku", json!("http://127.0.0.1/keys"))), "jku"),
        (format!("{}.{good}.{signature}", with("typ", json!("JWT"))), "another type"),
        (format!("{}.{}.{signature}", parts[0], encoded(others)), "another account"),
        (format!("{}.{}.", parts[0], parts[1]), "no signature"),
        (format!("{token}x"), "a longer signature"),
    ] {
        let forger = Client::new(it.client.url.clone(), forged);
        for path in ["/v1/queues", "/v1/messages", "/v1/blacklist", "/metrics"] {
            assert_eq!(forger.get(path).await.0, 401, "{what}");
        }
    }
    let ops = Client::new(it.client.url.clone(), token.clone());
    assert_eq!(ops.get("/v1/queues").await.0, 200, "the token as it was made is good");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_second_request_hides_in_the_first() {
    let it = start(&[]).await;
    let head = "Host: postrider\r\nContent-Type: application/json\r\n";
    let hidden = "GET /healthz HTTP/1.1\r\nHost: postrider\r\n\r\n";
    for (framing, what) in [
        ("Content-Length: 4\r\nTransfer-Encoding: chunked", "both framings"),
        ("Transfer-Encoding: chunked\r\nContent-Length: 4", "both framings, turned round"),
        ("Content-Length: 5\r\nContent-Length: 60", "two lengths"),
        ("Content-Length: 5, 60", "a list of lengths"),
        ("Content-Length: +5", "a sign"),
        ("Transfer-Encoding: xchunked", "an unknown coding"),
        ("Transfer-Encoding: chunked, identity", "chunked not last"),
        ("Content-Length : 5", "a space before the colon"),
        ("X-A: b\r\n Content-Length: 5", "a folded line"),
    ] {
        let raw = it.raw(&format!(
            "POST /v1/verifications HTTP/1.1\r\n{head}{framing}\r\n\r\n0\r\n\r\n{hidden}"
        ));
        let statuses = raw.statuses();
        assert_eq!(statuses.len(), 1, "{what}: {}", raw.text);
        assert!(raw.closed && statuses[0].starts_with('4'), "{what}: {}", raw.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_and_for_what_is_said_once_and_plainly() {
    let it = start(&[]).await;
    let ops = it.process.token(&["--account", "ops", "--admin"]);
    let shop = &it.client.token;
    let ask = |line: &str, headers: &str| {
        let head = "Host: postrider\r\nConnection: close";
        it.raw(&format!("{line} HTTP/1.1\r\n{head}\r\n{headers}\r\n\r\n")).statuses()[0].to_owned()
    };
    let bearer = |token: &str| format!("Authorization: Bearer {token}");
    assert_eq!(ask("GET /v1/queues", &bearer(&ops)), "200");
    // Two tokens: a proxy may have looked at the other one.
    let both = format!("{}\r\n{}", bearer(&ops), bearer(shop));
    assert_eq!(ask("GET /v1/queues", &both), "401");
    let both = format!("{}\r\n{}", bearer(shop), bearer(&ops));
    assert_eq!(ask("GET /v1/queues", &both), "401");
    // Ways round a proxy's rules about paths and methods.
    for path in ["/V1/queues", "//v1/queues", "/v1/./queues", "/v1/x/../queues", "/v1%2fqueues"] {
        assert_eq!(ask(&format!("GET {path}"), &bearer(&ops)), "404", "{path}");
    }
    let overridden = format!("{}\r\nX-HTTP-Method-Override: GET", bearer(&ops));
    assert_eq!(ask("POST /v1/queues", &overridden), "405");
    let rewritten = format!("{}\r\nX-Original-URL: /v1/queues", bearer(shop));
    assert_eq!(ask("GET /healthz", &rewritten), "200");
    assert_eq!(ask("GET /v1/queues", &format!("{}, {}", bearer(&ops), shop)), "401");
}
