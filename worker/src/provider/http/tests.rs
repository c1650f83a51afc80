//! Calls that get no answer, over real sockets.

use std::sync::Arc;
use std::time::Duration;

use postrider_common::model::job::Outcome;
use reqwest::tls::Certificate;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use super::*;

/// Of `localhost` and `127.0.0.1`, valid for a hundred years, signed by itself; and its key, which guards nothing.
const CERTIFICATE: &[u8] = include_bytes!("test_certificate.pem");
const KEY: &[u8] = include_bytes!("test_key.pem");
/// Set in the process that has no descriptor left.
const WITHOUT_DESCRIPTORS: &str = "POSTRIDER_TEST_WITHOUT_DESCRIPTORS";

fn settings() -> config::Provider {
    let mut settings = config::Provider::sandbox();
    settings.connect_timeout = Duration::from_secs(2);
    settings.read_timeout = Duration::from_secs(2);
    settings
}

/// The outcome and the error code of a call of this URL.
async fn call(client: &Client, url: &str) -> (Outcome, String) {
    let answer = exchange(client.post(url)).await.expect_err("no answer comes");
    println!("{url}: {answer:?}");
    (answer.outcome, answer.error_code.unwrap())
}

fn unreachable(code: &str) -> (Outcome, String) {
    (Outcome::Unreachable, code.to_owned())
}

/// Listens, and does this with each connection.
async fn listener<F, W>(work: W) -> u16
where
    F: Future<Output = ()> + Send,
    W: Fn(TcpStream) -> F + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            work(stream).await;
        }
    });
    port
}

/// A server with our certificate; it may ask for one of the client's, which has none.
fn tls(asks_for_certificate: bool) -> TlsAcceptor {
    let certificate = CertificateDer::from_pem_slice(CERTIFICATE).unwrap();
    let key = PrivateKeyDer::from_pem_slice(KEY).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let builder = ServerConfig::builder();
    let builder = if asks_for_certificate {
        let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap();
        builder.with_client_cert_verifier(verifier)
    } else {
        builder.with_no_client_auth()
    };
    TlsAcceptor::from(Arc::new(builder.with_single_cert(vec![certificate], key).unwrap()))
}

fn trusting() -> Client {
    let certificate = Certificate::from_pem(CERTIFICATE).unwrap();
    builder(&settings()).tls_certs_only([certificate]).build().unwrap()
}

#[tokio::test]
async fn closed_port_and_unresolvable_name_surely_did_not_reach_the_provider() {
    let client = client(&settings()).unwrap();
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    assert_eq!(call(&client, &format!("http://127.0.0.1:{port}/")).await, unreachable("connect"));
    assert_eq!(call(&client, "http://nobody.invalid/").await, unreachable("dns"));
}

#[tokio::test]
async fn failed_handshake_surely_did_not_reach_the_provider() {
    let acceptor = tls(false);
    let trusted = listener(move |stream| {
        let acceptor = acceptor.clone();
        async move { drop(acceptor.accept(stream).await) }
    })
    .await;
    let alerting = listener(async |mut stream: TcpStream| {
        let mut hello = [0; 1024];
        drop(stream.read(&mut hello).await);
        // Fatal: handshake_failure (RFC 8446, section 6).
        drop(stream.write_all(&[21, 3, 3, 0, 2, 2, 40]).await);
    })
    .await;
    let closing = listener(async |stream: TcpStream| drop(stream)).await;
    let talking_http = listener(async |mut stream: TcpStream| {
        drop(stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await);
    })
    .await;
    let usual = client(&settings()).unwrap();
    for port in [trusted, alerting, closing, talking_http] {
        let url = format!("https://127.0.0.1:{port}/");
        assert_eq!(call(&usual, &url).await, unreachable("tls"));
    }
}

#[tokio::test]
async fn silent_handshake_is_no_connection() {
    let silent = listener(async |stream: TcpStream| {
        tokio::time::sleep(Duration::from_secs(10)).await;
        drop(stream);
    })
    .await;
    let url = format!("https://127.0.0.1:{silent}/");
    assert_eq!(call(&client(&settings()).unwrap(), &url).await, unreachable("connect"));
}

#[tokio::test]
async fn alert_or_reset_after_the_handshake_leaves_the_outcome_unknown() {
    let unknown = (Outcome::Unknown, "broken_answer".to_owned());
    for asks_for_certificate in [false, true] {
        let acceptor = tls(asks_for_certificate);
        let port = listener(move |stream| {
            let acceptor = acceptor.clone();
            async move {
                // Of a client without a certificate TLS 1.3 lets the handshake end before the alert comes.
                if let Ok(mut stream) = acceptor.accept(stream).await {
                    let mut request = [0; 1024];
                    drop(stream.read(&mut request).await);
                }
            }
        })
        .await;
        assert_eq!(call(&trusting(), &format!("https://127.0.0.1:{port}/")).await, unknown);
    }
    let resetting = listener(async |mut stream: TcpStream| {
        let mut request = [0; 1024];
        drop(stream.read(&mut request).await);
    })
    .await;
    assert_eq!(call(&trusting(), &format!("http://127.0.0.1:{resetting}/")).await, unknown);
}

#[test]
fn worker_without_descriptors_does_not_blame_the_provider() {
    let this = std::env::current_exe().unwrap();
    let module = module_path!().split_once("::").unwrap().1;
    let output = std::process::Command::new("sh")
        .args(["-c", "ulimit -n 64 && exec \"$0\" \"$@\""])
        .arg(this)
        .args(["--exact", &format!("{module}::without_descriptors"), "--nocapture"])
        .env(WITHOUT_DESCRIPTORS, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    assert!(said.contains("looked at"), "{said}");
}

/// Run by the test above, in a process of its own.
#[tokio::test]
async fn without_descriptors() {
    if std::env::var_os(WITHOUT_DESCRIPTORS).is_none() {
        return;
    }
    let port = listener(async |stream: TcpStream| drop(stream)).await;
    let clients = [client(&settings()).unwrap(), client(&settings()).unwrap()];
    let mut open = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        open.push(file);
    }
    for (client, host) in clients.iter().zip(["127.0.0.1", "localhost"]) {
        let url = format!("http://{host}:{port}/");
        let answer = exchange(client.post(url)).await.expect_err("no answer comes");
        println!("looked at {answer:?}");
        let code = answer.error_code.unwrap();
        assert_eq!((answer.outcome, code.as_str()), (Outcome::Unreachable, "no_descriptor"));
        assert!(answer.error_message.unwrap().contains("this worker"));
    }
}
