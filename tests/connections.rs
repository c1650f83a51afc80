//! What a peer can't hold on to: the service as it is configured, over plain sockets.

use std::time::Instant;

use futures::future::join_all;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Duration, timeout};

use crate::harness::eventually;
use crate::harness::ports;
use crate::harness::processes::{Client, Process, settings};
use crate::harness::services;

const HEALTH: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: postrider\r\n\r\n";
/// Of a time-out of a second, with a busy machine's patience.
const SOON: Duration = Duration::from_secs(20);

struct Served {
    process: Process,
    address: String,
}

async fn start(more: &[(&str, &str)]) -> Served {
    let data = services::new_folder("connections");
    let mut settings = settings(more);
    settings.insert("POSTRIDER_DATA_DIR".to_owned(), data.display().to_string());
    settings.entry("POSTRIDER_SERVER__HEADER_TIMEOUT".to_owned()).or_insert("1s".to_owned());
    let mut process = Process::api(settings);
    let address = process.url().await.trim_start_matches("http://").to_owned();
    Served { process, address }
}

async fn connect(address: &str) -> TcpStream {
    TcpStream::connect(address).await.unwrap()
}

/// What comes until the server closes, and after how long it did.
async fn until_closed(stream: &mut TcpStream) -> (String, Duration) {
    let (begun, mut read) = (Instant::now(), Vec::new());
    let ended = timeout(SOON, stream.read_to_end(&mut read)).await;
    assert!(ended.is_ok(), "still open after {SOON:?}");
    (String::from_utf8_lossy(&read).into_owned(), begun.elapsed())
}

async fn asked(address: &str) -> String {
    let mut stream = connect(address).await;
    let request = b"GET /healthz HTTP/1.1\r\nHost: postrider\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    until_closed(&mut stream).await.0
}

#[tokio::test]
async fn half_a_head_and_a_connection_that_rests_are_closed_on_either_listener() {
    let operators = format!("127.0.0.1:{}", ports::free_port());
    let it = start(&[("POSTRIDER_METRICS__LISTEN", &operators)]).await;
    for address in [&it.address, &operators] {
        let (mut half, mut silent, mut resting) =
            (connect(address).await, connect(address).await, connect(address).await);
        half.write_all(&HEALTH[..HEALTH.len() - 2]).await.unwrap();
        resting.write_all(HEALTH).await.unwrap();
        for (stream, answers) in [(&mut half, 0), (&mut silent, 0), (&mut resting, 1)] {
            let (text, after) = until_closed(stream).await;
            assert_eq!(text.matches("HTTP/1.1 200").count(), answers, "{text}");
            assert!(after < SOON, "{after:?}");
        }
    }
}

#[tokio::test]
async fn at_the_most_connections_the_next_wait_until_the_idle_are_closed() {
    let it = start(&[("POSTRIDER_SERVER__MAX_CONNECTIONS", "20")]).await;
    let held = join_all((0..25).map(|_| connect(&it.address))).await;
    let begun = Instant::now();
    let answer = timeout(SOON, asked(&it.address)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(begun.elapsed() > Duration::from_millis(500), "it waited: {:?}", begun.elapsed());
    drop(held);
}

/// A body of which a byte comes now and then; what it was answered.
async fn trickled(it: &Served, path: &str, token: &str) -> String {
    let (mut reading, mut writing) = connect(&it.address).await.into_split();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: postrider\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: 10000\r\n\r\n"
    );
    writing.write_all(head.as_bytes()).await.unwrap();
    let trickling = tokio::spawn(async move {
        while writing.write_all(b" ").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let mut answer = Vec::new();
    let ended = timeout(SOON, reading.read_to_end(&mut answer)).await;
    assert!(ended.is_ok(), "still open after {SOON:?}");
    trickling.abort();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_body_that_arrives_too_slowly_is_408() {
    let it = start(&[("POSTRIDER_SERVER__REQUEST_TIMEOUT", "1s")]).await;
    let token = it.process.token(&["--account", "shop"]);
    let answer = trickled(&it, "/v1/verifications", &token).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("\"code\":\"body_timeout\""), "{answer}");
    assert!(answer.to_lowercase().contains("connection: close"), "{answer}");
    let answer = trickled(&it, "/send", &token).await;
    assert!(answer.contains("请求格式不正确"), "{answer}");
}

#[tokio::test]
async fn idle_connections_keep_no_health_check_from_the_operators_listener() {
    let operators = format!("127.0.0.1:{}", ports::free_port());
    let settings =
        [("POSTRIDER_METRICS__LISTEN", &*operators), ("POSTRIDER_SERVER__HEADER_TIMEOUT", "30s")];
    let _it = start(&settings).await;
    let held = join_all((0..200).map(|_| connect(&operators))).await;
    let answer = timeout(Duration::from_secs(5), asked(&operators)).await;
    let answer = answer.expect("an answer while others rest");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    drop(held);
}

#[tokio::test]
async fn a_stop_answers_the_request_in_flight_and_waits_for_no_idle_connection() {
    let mut it = start(&[("POSTRIDER_SERVER__HEADER_TIMEOUT", "10s")]).await;
    let token = it.process.token(&["--account", "shop"]);
    let idle = connect(&it.address).await;
    let mut sending = connect(&it.address).await;
    let body = json!({"phone": "13800138000", "purpose": "login"}).to_string();
    let head = format!(
        "POST /v1/verifications HTTP/1.1\r\nHost: postrider\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n",
        body.len()
    );
    sending.write_all(head.as_bytes()).await.unwrap();
    let mut goes_on = [0; 25];
    sending.read_exact(&mut goes_on).await.unwrap();
    assert_eq!(&goes_on, b"HTTP/1.1 100 Continue\r\n\r\n", "somebody waits for the body");
    sending.write_all(&body.as_bytes()[..10]).await.unwrap();
    it.process.signal("TERM");
    eventually("nobody to be let in any more", || async {
        TcpStream::connect(&it.address).await.is_err().then_some(())
    })
    .await;
    sending.write_all(&body.as_bytes()[10..]).await.unwrap();
    let begun = Instant::now();
    let (answer, _) = until_closed(&mut sending).await;
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    assert_eq!(it.process.ended().await, Some(0), "{}", it.process.output());
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    drop(idle);
}

#[tokio::test]
async fn a_client_that_keeps_its_connection_asks_a_hundred_times() {
    let mut it = start(&[]).await;
    let token = it.process.token(&["--account", "shop"]);
    let client = Client::new(it.process.url().await, token);
    for _ in 0..100 {
        assert_eq!(client.get("/v1/messages").await.0, 200);
    }
}
