//! A wire between a process and a service that a test can cut, close, slow down or make silent.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

/// What the wire does with bytes and with new connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wire {
    Passes,
    /// New connections are closed at once.
    Refuses,
    /// Nothing is carried, in either direction, and nobody is told.
    Swallows,
    /// Everything is carried so much later.
    Delays(Duration),
}

#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    _accepts: AbortOnDropHandle<()>,
}

#[derive(Debug)]
struct Shared {
    target: watch::Sender<SocketAddr>,
    wire: watch::Sender<Wire>,
    /// Each rise ends the connections of before.
    cuts: watch::Sender<u64>,
}

impl Proxy {
    /// A wire to `port` of 127.0.0.1.
    pub async fn to(port: u16) -> Self {
        Self::at(0, port).await
    }

    /// A wire from `here` to `port`, both of 127.0.0.1.
    pub async fn at(here: u16, port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, here)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            target: watch::Sender::new((Ipv4Addr::LOCALHOST, port).into()),
            wire: watch::Sender::new(Wire::Passes),
            cuts: watch::Sender::new(0),
        });
        let accepts = AbortOnDropHandle::new(tokio::spawn(accept(listener, shared.clone())));
        Self { address, shared, _accepts: accepts }
    }

    /// `url`, of the service that the wire leads to, with the wire's port in place of the service's.
    pub async fn before(url: &str) -> (Self, String) {
        let mut url = reqwest::Url::parse(url).unwrap();
        let proxy = Self::to(url.port().expect("the URL names its port")).await;
        url.set_port(Some(proxy.port())).unwrap();
        (proxy, url.into())
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Cuts every connection that there is; new ones get through, unless they are refused.
    pub fn cut(&self) {
        self.shared.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Cuts every connection, and those to come.
    pub fn refuse(&self) {
        self.shared.wire.send_replace(Wire::Refuses);
        self.cut();
    }

    /// Carries nothing more: connections stay open, and whatever is sent on them is kept back.
    pub fn swallow(&self) {
        self.shared.wire.send_replace(Wire::Swallows);
    }

    /// Carries each piece only after this time.
    pub fn delay(&self, by: Duration) {
        self.shared.wire.send_replace(Wire::Delays(by));
    }

    /// Leads new connections to another port, and cuts those of before.
    pub fn lead_to(&self, port: u16) {
        self.shared.target.send_replace((Ipv4Addr::LOCALHOST, port).into());
        self.cut();
    }

    /// Carries again, also what was kept back.
    pub fn pass(&self) {
        self.shared.wire.send_replace(Wire::Passes);
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((client, _)) = listener.accept().await {
        // Before the look at the wire: a refusal in between then cuts it.
        let cuts = shared.cuts.subscribe();
        if *shared.wire.borrow() != Wire::Refuses {
            tokio::spawn(connect(client, shared.clone(), cuts));
        }
    }
}

/// Carries one connection until either side closes it or it is cut.
async fn connect(client: TcpStream, shared: Arc<Shared>, mut cuts: watch::Receiver<u64>) {
    let target = *shared.target.borrow();
    let carry = async {
        let Ok(server) = TcpStream::connect(target).await else { return };
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        tokio::join!(
            copy(from_client, to_server, shared.wire.subscribe()),
            copy(from_server, to_client, shared.wire.subscribe()),
        );
    };
    tokio::select! {
        () = carry => {}
        _ = cuts.changed() => {}
    }
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut wire: watch::Receiver<Wire>) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(read) = from.read(&mut buffer).await {
        // After the read: what arrives while the wire is silent is kept back.
        let now = wire.wait_for(|wire| *wire != Wire::Swallows).await.map(|wire| *wire);
        if let Ok(Wire::Delays(by)) = now {
            tokio::time::sleep(by).await;
        }
        if read == 0 || now.is_err() || to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
