//! Hands out free ports of 127.0.0.1, and knocks on them.

use std::collections::HashSet;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Mutex;

/// Below the ports that systems give to outgoing connections. From among those, a connection could take a service's
/// port while the service is down, and a client that knocks on it could even be connected to itself.
const RANGE: std::ops::Range<u16> = 15_000..32_000;

/// A port on which nobody listens, and that this process wasn't given before.
pub fn free_port() -> u16 {
    static GIVEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);
    let mut given = GIVEN.lock().unwrap();
    let given = given.get_or_insert_default();
    loop {
        let port = rand::random_range(RANGE);
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() && given.insert(port) {
            return port;
        }
    }
}

/// Whether something listens there.
pub fn listens(port: u16) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
}
