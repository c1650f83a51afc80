//! What a peer may hold on to, over sockets of this machine.

use std::time::Instant;

use axum::routing::get;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

const USUAL: Bounds = Bounds {
    connections: 8,
    evict_idle: false,
    header_timeout: Duration::from_secs(5),
    write_timeout: Duration::from_secs(5),
};
const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n";
/// More than two sockets' buffers hold.
const LARGE: usize = 32 * 1024 * 1024;

struct Served {
    address: SocketAddr,
    stop: CancellationToken,
    ended: tokio::task::JoinHandle<()>,
}

fn served(bounds: Bounds) -> Served {
    let listener = listen(([127, 0, 0, 1], 0).into()).unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new()
        .route("/", get(async |ConnectInfo(peer): ConnectInfo<SocketAddr>| peer.to_string()))
        .route("/large", get(async || vec![b'x'; LARGE]))
        .route("/slow", get(async || tokio::time::sleep(Duration::from_millis(500)).await));
    let stop = CancellationToken::new();
    let grace = Duration::from_secs(5);
    let ended = tokio::spawn(serve(listener, router, bounds, stop.clone(), grace));
    Served { address, stop, ended }
}

impl Served {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }
}

/// Reads one answer, to its last byte.
async fn answer(stream: &mut TcpStream) -> String {
    let mut read = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&read).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.split_once("content-length: ").unwrap().1;
            if body.len() == length.lines().next().unwrap().parse::<usize>().unwrap() {
                return text;
            }
        }
        assert_ne!(stream.read_buf(&mut read).await.unwrap(), 0, "closed after {text:?}");
    }
}

/// As a caller's pools open them all at once: nobody accepts here, so that only the system holds them.
#[tokio::test]
async fn a_burst_of_connections_is_not_told_to_come_again_in_a_second() {
    let listener = listen(([127, 0, 0, 1], 0).into()).unwrap();
    let address = listener.local_addr().unwrap();
    let burst = (0..512).map(|_| TcpStream::connect(address));
    let connected =
        tokio::time::timeout(Duration::from_millis(900), futures::future::join_all(burst));
    let connected = connected.await.expect("every connection to be taken at once");
    assert!(connected.into_iter().all(|connected| connected.is_ok()));
}

#[tokio::test]
async fn one_connection_makes_a_hundred_requests_and_says_whose_it_is() {
    let it = served(USUAL);
    let mut stream = it.connect().await;
    for _ in 0..100 {
        stream.write_all(GET).await.unwrap();
        let text = answer(&mut stream).await;
        assert!(text.ends_with(&stream.local_addr().unwrap().to_string()), "{text}");
    }
}

#[tokio::test]
async fn whoever_does_not_read_is_cut() {
    let it = served(Bounds { write_timeout: Duration::from_millis(300), ..USUAL });
    let mut stream = it.connect().await;
    stream.write_all(b"GET /large HTTP/1.1\r\nHost: here\r\n\r\n").await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut read = Vec::new();
    // What the buffers held is there, or was reset; no more comes.
    let ended = stream.read_to_end(&mut read).await;
    assert!(read.len() < LARGE, "{} bytes, {ended:?}", read.len());
}

#[tokio::test]
async fn whoever_reads_slowly_but_on_gets_all() {
    let it = served(Bounds { write_timeout: Duration::from_millis(500), ..USUAL });
    let mut stream = it.connect().await;
    let request = b"GET /large HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let (mut read, mut chunk) = (0, vec![0; LARGE / 16]);
    loop {
        tokio::time::sleep(Duration::from_millis(40)).await;
        match stream.read(&mut chunk).await.unwrap() {
            0 => break,
            more => read += more,
        }
    }
    assert!(read > LARGE, "{read}");
}

#[tokio::test]
async fn a_head_has_a_largest_size() {
    let it = served(USUAL);
    let mut stream = it.connect().await;
    let head = format!("GET / HTTP/1.1\r\nHost: here\r\nX: {}", "x".repeat(MAX_HEAD_BYTES));
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut read = String::new();
    stream.read_to_string(&mut read).await.ok();
    assert!(read.starts_with("HTTP/1.1 431"), "{read:?}");
}

#[tokio::test]
async fn answers_431_to_a_head_over_64_kib_and_no_other() {
    let it = served(USUAL);
    let start = "GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\nX: ";
    let header = |size: usize| format!("{start}{}\r\n\r\n", "x".repeat(size - start.len() - 4));
    let target = |size: usize| {
        let rest = " HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n";
        format!("GET /?{}{rest}", "x".repeat(size - 6 - rest.len()))
    };
    let is_over = |size| if size > MAX_HEAD_BYTES { "431" } else { "200" };
    for size in [MAX_HEAD_BYTES, MAX_HEAD_BYTES + 1, 70_000, 100_000, 120_000, 1_000_000] {
        let mut heads = vec![header(size)];
        // A target is at most 65,534 bytes by itself.
        heads.extend((size > MAX_HEAD_BYTES).then(|| target(size)));
        for head in heads {
            let (mut reading, mut writing) = it.connect().await.into_split();
            // At once, so that it may be read whole before its size is looked at.
            let written = tokio::spawn(async move { writing.write_all(head.as_bytes()).await });
            let mut answer = Vec::new();
            reading.read_to_end(&mut answer).await.ok();
            let status = String::from_utf8_lossy(&answer[9..12]).into_owned();
            assert_eq!(status, is_over(size), "{size} bytes");
            written.await.unwrap().ok();
        }
    }
}

/// A health check of an orchestrator has but a second or so.
#[tokio::test]
async fn connections_that_rest_keep_no_operator_out() {
    let bounds = Bounds { connections: 4, evict_idle: true, ..USUAL };
    let it = served(bounds);
    let mut running = it.connect().await;
    running.write_all(b"GET /slow HTTP/1.1\r\nHost: here\r\n\r\n").await.unwrap();
    let mut held = Vec::new();
    for n in 0..40 {
        let mut resting = it.connect().await;
        match n % 3 {
            0 => {}
            1 => resting.write_all(&GET[..20]).await.unwrap(),
            _ => {
                resting.write_all(GET).await.unwrap();
                answer(&mut resting).await;
            }
        }
        held.push(resting);
    }
    let begun = Instant::now();
    let mut check = it.connect().await;
    check.write_all(GET).await.unwrap();
    assert!(answer(&mut check).await.starts_with("HTTP/1.1 200"));
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    assert!(answer(&mut running).await.starts_with("HTTP/1.1 200"), "what runs isn't evicted");
    check.write_all(GET).await.unwrap();
    answer(&mut check).await;
    drop(held);
}

#[tokio::test]
async fn a_stop_closes_what_rests_and_finishes_what_runs() {
    let it = served(USUAL);
    let (mut new, mut resting, mut running) =
        (it.connect().await, it.connect().await, it.connect().await);
    resting.write_all(GET).await.unwrap();
    answer(&mut resting).await;
    running.write_all(b"GET /slow HTTP/1.1\r\nHost: here\r\n\r\n").await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let begun = Instant::now();
    it.stop.cancel();
    let mut none = [0];
    assert_eq!(new.read(&mut none).await.unwrap(), 0);
    assert_eq!(resting.read(&mut none).await.unwrap(), 0);
    assert!(begun.elapsed() < Duration::from_millis(300), "{:?}", begun.elapsed());
    assert!(answer(&mut running).await.starts_with("HTTP/1.1 200"));
    it.ended.await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert!(TcpStream::connect(it.address).await.is_err());
}

#[test]
fn connections_leave_files_for_the_rest() {
    assert_eq!(affordable(10_000, None), 10_000);
    assert_eq!(affordable(10_000, Some(1_048_576)), 10_000);
    assert_eq!(affordable(10_000, Some(1024)), 824);
    assert_eq!(affordable(10_000, Some(100)), 1);
}
