//! A port that lets nobody in until a test opens it.

use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;

/// Where connections are not taken: the kernel has no more room for them. They try again, after 1 s and 3 s among
/// others.
pub struct Door {
    listener: TcpListener,
    pub url: String,
    _crowd: Vec<TcpStream>,
}

impl Door {
    pub async fn shut() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let mut crowd = Vec::new();
        while let Ok(entered) =
            timeout(Duration::from_millis(300), TcpStream::connect(address)).await
        {
            crowd.push(entered.unwrap());
        }
        Self { listener, url: format!("http://{address}/"), _crowd: crowd }
    }

    /// From here on everybody comes in, and is led to `port`.
    pub fn open(self, port: u16) {
        tokio::spawn(async move {
            while let Ok((mut client, _)) = self.listener.accept().await {
                tokio::spawn(async move {
                    let mut server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                });
            }
        });
    }
}
