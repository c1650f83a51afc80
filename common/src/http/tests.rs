//! What a peer may hold on to, over sockets of this machine.

use std::time::Instant;

use axum::routing::get;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

const USUAL: Bounds = Bounds {
    connections: 8,
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
    let head = format!("GET / HTTP/1.1\r\nHost: here\r\nX: {}", "x".repeat(LARGEST_HEAD));
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut read = String::new();
    stream.read_to_string(&mut read).await.ok();
    assert!(read.starts_with("HTTP/1.1 431"), "{read:?}");
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
