//! Whose address a request counts for.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use ipnet::IpNet;

use crate::app::Shared;
use crate::caller::{Caller, Policy};

const FORWARDED_FOR: &str = "x-forwarded-for";

/// The address that the request came from, as far as trusted proxies tell; an IPv4-mapped one as IPv4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientIp(Option<IpAddr>);

impl FromRequestParts<Shared> for ClientIp {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, Infallible> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        let trusted = &app.settings.server.trusted_proxies;
        Ok(Self(peer.map(|peer| of_request(peer.0.ip(), &parts.headers, trusted))))
    }
}

impl ClientIp {
    /// The caller's own address; one that no network holds where it isn't known.
    pub fn of_caller(self) -> IpAddr {
        self.0.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED))
    }

    /// The end user's address. A caller that acts on behalf of its users says it in the body, and one that says
    /// nothing isn't limited by address; everybody else's body is not believed, since a caller could dodge
    /// bans and limits with it.
    pub fn of_user<P: Policy>(self, caller: &Caller<P>, given: Option<IpAddr>) -> Option<IpAddr> {
        if caller.on_behalf() { given } else { self.0 }
    }
}

/// The right-most address of `X-Forwarded-For` that isn't trusted, if the peer is one that is; else the
/// peer. What stands left of an address that isn't trusted could have been written by anybody.
fn of_request(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(&address));
    let mut nearest = peer.to_canonical();
    let lines = headers.get_all(FORWARDED_FOR).iter().rev();
    let hops = lines.flat_map(|line| line.to_str().unwrap_or("unreadable").rsplit(','));
    for hop in hops {
        if !is_trusted(nearest) {
            break;
        }
        let Some(address) = address_of(hop.trim()) else { break };
        nearest = address;
    }
    nearest
}

/// Some proxies write the port too.
fn address_of(hop: &str) -> Option<IpAddr> {
    let bare = || hop.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let with_port = || hop.parse::<SocketAddr>().ok().map(|address| address.ip());
    let address: Option<IpAddr> = hop.parse().ok().or_else(bare).or_else(with_port);
    address.map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn the_right_most_address_that_is_not_trusted_counts() {
        let trusted: Vec<IpNet> =
            ["10.0.0.0/8", "2001:db8::/32"].iter().map(|n| n.parse().unwrap()).collect();
        for (peer, lines, expected) in [
            ("203.0.113.1", vec![], "203.0.113.1"),
            ("203.0.113.1", vec!["198.51.100.1"], "203.0.113.1"),
            ("10.0.0.1", vec![], "10.0.0.1"),
            ("10.0.0.1", vec!["198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", vec!["1.1.1.1, 198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", vec!["1.1.1.1, 198.51.100.1, 10.0.0.2"], "198.51.100.1"),
            ("10.0.0.1", vec!["1.1.1.1", "198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", vec!["198.51.100.1", "10.0.0.2"], "198.51.100.1"),
            ("10.0.0.1", vec!["10.0.0.3,10.0.0.2"], "10.0.0.3"),
            ("10.0.0.1", vec!["198.51.100.1, nonsense, 10.0.0.2"], "10.0.0.2"),
            ("10.0.0.1", vec!["198.51.100.1:4711"], "198.51.100.1"),
            ("10.0.0.1", vec!["[2001:db9::1]:4711"], "2001:db9::1"),
            ("10.0.0.1", vec!["[2001:db9::1]"], "2001:db9::1"),
            ("::ffff:10.0.0.1", vec!["::ffff:198.51.100.1"], "198.51.100.1"),
            ("2001:db8::1", vec!["198.51.100.1"], "198.51.100.1"),
        ] {
            let mut headers = HeaderMap::new();
            for line in &lines {
                headers.append(FORWARDED_FOR, HeaderValue::from_static(line));
            }
            let found = of_request(peer.parse().unwrap(), &headers, &trusted);
            assert_eq!(found, expected.parse::<IpAddr>().unwrap(), "{peer} {lines:?}");
        }
    }
}
