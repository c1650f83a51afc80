//! Serves HTTP/1.1 on a listener, with a bound on everything that a peer could hold on to: connections, the time
//! that a head or an answer takes, the bytes of a head.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::process::{Resource, getrlimit};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::config::Server;

mod impatient;
mod places;
#[cfg(test)]
mod tests;

use impatient::Impatient;
use places::{Place, Places};

/// Largest head of a request, and the most of an answer that is kept beside its body.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// How long a peer may read nothing of its answer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// Files that are open besides callers' connections: databases, broker, store, providers, operators, logs.
const OTHER_FILES: u64 = 200;
/// Connections of operators: a monitor has few. They are among the other files.
const OPERATORS: u32 = 64;
/// Connections that the system holds until they are accepted. Of more at once the system drops the rest, whose peers
/// ask again only after a second; the 128 of the standard library are fewer than a caller's pool may open.
const BACKLOG: u32 = 1024;
/// After an error of accepting that isn't the peer's (no file is left), so that it is logged once a second.
const PAUSE: Duration = Duration::from_secs(1);

/// What a listener grants its peers.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Connections at a time; further ones wait in the system's queue until one ends.
    connections: u32,
    /// Whether a further one takes the place of the one that has been idle for the longest.
    evict_idle: bool,
    /// From the opening of a connection, or from its last answer, to the end of a head. So it also ends
    /// connections that rest.
    header_timeout: Duration,
    write_timeout: Duration,
}

impl Bounds {
    /// Of the API: `[server] max_connections`, but never so many that no file is left for anything else.
    pub fn of_callers(server: &Server) -> Self {
        let connections = affordable(server.max_connections, getrlimit(Resource::Nofile).current);
        if connections < server.max_connections {
            tracing::info!(
                connections,
                "fewer than [server] max_connections: open files are limited"
            );
        }
        Self { connections, evict_idle: false, ..Self::of_operators(server) }
    }

    /// Of `[metrics] listen`: few connections, none of which keeps out a health check by doing nothing.
    pub fn of_operators(server: &Server) -> Self {
        Self {
            connections: OPERATORS,
            evict_idle: true,
            header_timeout: server.header_timeout,
            write_timeout: WRITE_TIMEOUT,
        }
    }
}

/// `files`: how many the process may open; none, where there is no limit.
fn affordable(wanted: u32, files: Option<u64>) -> u32 {
    let most = files.map_or(u64::MAX, |files| files.saturating_sub(OTHER_FILES).max(1));
    wanted.min(u32::try_from(most).unwrap_or(u32::MAX))
}

/// Listens. Up to 1,024 connections wait to be accepted, or as many as the system allows (`net.core.somaxconn`).
///
/// # Errors
/// The system's: the address is taken, isn't this machine's, or isn't allowed.
///
/// # Panics
/// Outside a runtime of tokio.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A port whose last connections are still fading out may be listened on again.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves until `stop`; then connections that rest are closed, and requests may finish within `grace`.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    bounds: Bounds,
    stop: CancellationToken,
    grace: Duration,
) {
    let places = Places::new(bounds.connections);
    let mut protocol = http1::Builder::new();
    protocol.timer(TokioTimer::new());
    protocol.header_read_timeout(bounds.header_timeout);
    // The buffer alone would let through what is read at once.
    protocol.max_buf_size(MAX_HEAD_BYTES).max_header_size(MAX_HEAD_BYTES);
    while let Some(Some((place, stream, peer))) =
        stop.run_until_cancelled(accept(&listener, &places, bounds.evict_idle)).await
    {
        let stream = Impatient::new(stream, bounds.write_timeout);
        let (protocol, router, stop) = (protocol.clone(), router.clone(), stop.clone());
        tokio::spawn(connection(protocol, stream, peer, router, place, stop));
    }
    drop(listener);
    if tokio::time::timeout(grace, places.all_free()).await.is_err() {
        tracing::warn!("some requests were not finished in time");
    }
}

/// The next connection and its place: the next that is free, or at once that of an idle one.
async fn accept(
    listener: &TcpListener,
    places: &Places,
    evict_idle: bool,
) -> Option<(Place, TcpStream, SocketAddr)> {
    if evict_idle {
        let (stream, peer) = next_connection(listener).await;
        return Some((places.take_from_idle().await?, stream, peer));
    }
    let place = places.free().await?;
    let (stream, peer) = next_connection(listener).await;
    Some((place, stream, peer))
}

async fn next_connection(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // Answers are written whole: holding back their last bytes gains nothing. A socket that refuses
                // is broken, and its first read will say so.
                drop(stream.set_nodelay(true));
                return (stream, peer);
            }
            Err(error)
                if matches!(
                    error.kind(),
                    ConnectionAborted | ConnectionRefused | ConnectionReset
                ) => {}
            Err(error) => {
                tracing::error!(%error, "no connection can be accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn connection(
    protocol: http1::Builder,
    stream: Impatient<TcpStream>,
    peer: SocketAddr,
    router: Router,
    place: Place,
    stop: CancellationToken,
) {
    let service = service_fn(|mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        place.busy_while(router.clone().oneshot(request))
    });
    let mut connection = std::pin::pin!(protocol.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = place.evicted() => return,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        // Peers go away, are slow, or send nonsense: nobody's failure here.
        tracing::debug!(%error, "a connection broke off");
    }
}
