//! Whose address a request counts for.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRef, FromRequestParts};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use ipnet::IpNet;

const FORWARDED_FOR: &str = "x-forwarded-for";

/// The address that the request came from, as far as trusted proxies tell; an IPv4-mapped one as IPv4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientIp {
    address: Option<IpAddr>,
    /// Whether a trusted proxy said so, of somebody who is none.
    forwarded: bool,
    /// Whether all that trusted proxies said could be read.
    readable: bool,
}

/// The networks of the proxies whose `X-Forwarded-For` is believed.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies(Arc<[IpNet]>);

impl From<&[IpNet]> for TrustedProxies {
    fn from(networks: &[IpNet]) -> Self {
        Self(networks.into())
    }
}

impl<S: Send + Sync> FromRequestParts<S> for ClientIp
where
    TrustedProxies: FromRef<S>,
{
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        let peer = peer.map(|peer| peer.0.ip().to_canonical());
        let TrustedProxies(trusted) = TrustedProxies::from_ref(state);
        Ok(Self::of(peer, &parts.headers, &trusted))
    }
}

/// The address that a request to send or to check is counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserIp {
    address: Option<IpAddr>,
    /// Whether it is the caller's own, for lack of an end user's.
    is_callers: bool,
}

impl UserIp {
    pub fn address(self) -> Option<IpAddr> {
        self.address
    }

    /// The caller's own, for lack of an end user's.
    pub fn callers(address: Option<IpAddr>) -> Self {
        Self { address, is_callers: true }
    }

    /// The address, where it is known to be an end user's.
    pub fn of_end_user(self) -> Option<IpAddr> {
        self.address.filter(|_| !self.is_callers)
    }
}

/// An end user's, as whoever asks says.
impl From<Option<IpAddr>> for UserIp {
    fn from(address: Option<IpAddr>) -> Self {
        Self { address, is_callers: false }
    }
}

impl ClientIp {
    fn of(peer: Option<IpAddr>, headers: &HeaderMap, trusted: &[IpNet]) -> Self {
        let found = peer.map(|peer| of_request(peer, headers, trusted));
        let address = found.map(|(address, _)| address);
        Self {
            address,
            forwarded: address != peer && address.is_some_and(|it| !is_trusted(it, trusted)),
            readable: found.is_some_and(|(_, readable)| readable),
        }
    }

    /// The caller's own address, for what a network allows; one that no network holds where it isn't known, or where
    /// a proxy that we trust says what nobody can read: its own address would stand for anybody's then.
    pub fn of_caller(self) -> IpAddr {
        self.address.filter(|_| self.readable).unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED))
    }

    /// The caller's own address, for what is counted by it; `None` where it isn't known.
    pub fn address(self) -> Option<IpAddr> {
        self.address
    }

    /// The end user's address. A caller that acts on behalf of its users says it in the body, and one that says
    /// nothing isn't limited by address; everybody else's body is not believed, since a caller could dodge
    /// bans and limits with it.
    pub fn of_user(self, on_behalf: bool, given: Option<IpAddr>) -> UserIp {
        if on_behalf {
            return given.into();
        }
        if self.forwarded { self.address.into() } else { UserIp::callers(self.address) }
    }

    /// The same where no body says it: what a trusted proxy says takes its place.
    pub fn of_forwarded_user(self, on_behalf: bool) -> UserIp {
        self.of_user(on_behalf, self.address.filter(|_| self.forwarded))
    }
}

/// The right-most address of `X-Forwarded-For` that isn't trusted, if the peer is one that is; else the
/// peer. What stands left of an address that isn't trusted could have been written by anybody. An IPv4-mapped address is
/// given as IPv4. `false` where what stands there can't be read.
pub fn of_request(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> (IpAddr, bool) {
    let mut nearest = peer.to_canonical();
    let lines = headers.get_all(FORWARDED_FOR).iter().rev();
    let hops = lines.flat_map(|line| line.to_str().unwrap_or("unreadable").rsplit(','));
    for hop in hops {
        if !is_trusted(nearest, trusted) {
            break;
        }
        let Some(address) = address_of(hop.trim()) else { return (nearest, false) };
        nearest = address;
    }
    (nearest, true)
}

fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    trusted.iter().any(|network| network.contains(&address))
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
    use proptest::prelude::*;

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
            let (found, readable) = of_request(peer.parse().unwrap(), &headers, &trusted);
            assert_eq!(readable, !lines.iter().any(|line| line.contains("nonsense")), "{lines:?}");
            assert_eq!(found, expected.parse::<IpAddr>().unwrap(), "{peer} {lines:?}");
        }
    }

    #[test]
    fn an_address_is_an_end_users_only_if_it_is_no_trusted_proxys() {
        for (peer, line, expected) in [
            ("10.0.0.1", Some("198.51.100.1"), true),
            ("10.0.0.1", Some("198.51.100.1, 10.0.0.2"), true),
            ("10.0.0.1", Some("10.0.0.2"), false),
            ("10.0.0.1", Some("10.0.0.3, ::ffff:10.0.0.2"), false),
            ("10.0.0.1", Some("198.51.100.1, nonsense, 10.0.0.2"), false),
            ("10.0.0.1", Some("nonsense"), false),
            ("10.0.0.1", None, false),
            ("203.0.113.1", Some("198.51.100.1"), false),
        ] {
            let headers = headers(line.map(str::as_bytes));
            let found = ClientIp::of(Some(peer.parse().unwrap()), &headers, &trusted());
            assert_eq!(found.forwarded, expected, "{peer} {line:?}");
        }
    }

    #[test]
    fn a_nat64_address_is_never_trusted_as_the_address_within_it() {
        let proxy = "64:ff9b::a00:1".parse::<IpAddr>().unwrap();
        let headers = headers([b"198.51.100.1".as_slice()]);
        let found = ClientIp::of(Some(proxy), &headers, &trusted());
        assert_eq!(found.address(), Some(proxy), "not 10.0.0.1, a proxy");
        assert_eq!(
            found.of_caller(),
            proxy,
            "nor is it in the networks of a key or of `anonymous`"
        );
    }

    fn trusted() -> Vec<IpNet> {
        ["10.0.0.0/8", "2001:db8::/32"].iter().map(|network| network.parse().unwrap()).collect()
    }

    fn is_proxy(address: IpAddr) -> bool {
        is_trusted(address.to_canonical(), &trusted())
    }

    /// As many of the trusted as of the others, some written as IPv4-mapped.
    fn address() -> impl Strategy<Value = IpAddr> {
        prop_oneof![
            any::<[u8; 3]>().prop_map(|[a, b, c]| IpAddr::from([10, a, b, c])),
            any::<[u16; 4]>()
                .prop_map(|[a, b, c, d]| IpAddr::from([0x2001, 0xdb8, 0, 0, a, b, c, d])),
            any::<[u8; 3]>().prop_map(|[a, b, c]| IpAddr::from([
                0,
                0,
                0,
                0,
                0,
                0xffff,
                0x0a00 | u16::from(a),
                u16::from_be_bytes([b, c])
            ])),
            any::<[u8; 4]>().prop_map(IpAddr::from),
            any::<[u8; 16]>().prop_map(IpAddr::from),
        ]
    }

    /// A hop as proxies write it.
    fn hop() -> impl Strategy<Value = (IpAddr, String)> {
        (address(), 0..3, "[ \t]{0,2}", any::<u16>()).prop_map(|(address, form, space, port)| {
            let text = match (form, address) {
                (0, _) => address.to_string(),
                (1, IpAddr::V6(_)) => format!("[{address}]"),
                _ => SocketAddr::new(address, port).to_string(),
            };
            (address, format!("{space}{text}{space}"))
        })
    }

    fn any_line() -> impl Strategy<Value = Vec<u8>> {
        let bytes = prop::collection::vec(any::<u8>(), 0..40);
        let like_hops = "([0-9a-f:.\\[\\], ]|10\\.0\\.0\\.1|::ffff:){0,20}";
        prop_oneof![bytes, like_hops.prop_map(String::into_bytes)]
    }

    fn headers<'a>(lines: impl IntoIterator<Item = &'a [u8]>) -> HeaderMap {
        let values = lines.into_iter().filter_map(|line| HeaderValue::from_bytes(line).ok());
        values.map(|value| (axum::http::HeaderName::from_static(FORWARDED_FOR), value)).collect()
    }

    proptest! {
        #[test]
        fn a_peer_that_is_not_trusted_is_who_it_is(
            peer in address(),
            lines in prop::collection::vec(any_line(), 0..4),
        ) {
            let headers = headers(lines.iter().map(Vec::as_slice));
            let (found, _) = of_request(peer, &headers, &trusted());
            if !is_proxy(peer) {
                prop_assert_eq!(found, peer.to_canonical());
            }
            prop_assert_eq!(of_request(peer, &headers, &[]), (peer.to_canonical(), true));
        }

        #[test]
        fn a_trusted_proxy_is_never_taken_for_the_client_unless_all_are(
            peer in address(),
            hops in prop::collection::vec(hop(), 0..6),
            lines in 1..4_usize,
            forged in prop::collection::vec(any_line(), 0..3),
        ) {
            let texts: Vec<_> = hops.iter().map(|(_, text)| text.as_str()).collect();
            let per_line = texts.len().div_ceil(lines).max(1);
            let written: Vec<_> = texts.chunks(per_line).map(|line| line.join(",")).collect();
            let written = written.iter().map(String::as_bytes);
            let (found, _) = of_request(peer, &headers(written.clone()), &trusted());
            let chain: Vec<_> = hops.iter().map(|(address, _)| *address).chain([peer]).collect();
            let nearest = chain.iter().rfind(|address| !is_proxy(**address));
            prop_assert_eq!(found, nearest.unwrap_or(&chain[0]).to_canonical());

            // What is written to the left of somebody who isn't trusted changes nothing.
            if !is_proxy(found) {
                let all = headers(forged.iter().map(Vec::as_slice).chain(written));
                prop_assert_eq!(of_request(peer, &all, &trusted()).0, found);
            }
        }
    }
}
