//! A peer on the first line, its `X-Forwarded-For` headers on the others: nobody but a trusted proxy is believed, and
//! what is written to the left of somebody who isn't trusted changes nothing.

#![no_main]

use std::net::IpAddr;
use std::sync::LazyLock;

use axum::http::header::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;
use libfuzzer_sys::fuzz_target;
use postrider_api::http::client_ip::of_request;

static TRUSTED: LazyLock<Vec<IpNet>> =
    LazyLock::new(|| vec!["10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()]);

fuzz_target!(|bytes: &[u8]| {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let peer = lines.next().and_then(|line| str::from_utf8(line).ok()?.parse::<IpAddr>().ok());
    let Some(peer) = peer else { return };
    let lines: Vec<&[u8]> = lines.collect();
    let found = of_request(peer, &headers(&lines), &TRUSTED).0;
    assert_eq!(found, found.to_canonical());
    assert_eq!(of_request(peer, &headers(&lines), &[]).0, peer.to_canonical());
    if !is_trusted(peer) {
        assert_eq!(found, peer.to_canonical());
    }
    if !is_trusted(found) {
        let forged = [&[b"203.0.113.66".as_slice()], lines.as_slice()].concat();
        assert_eq!(of_request(peer, &headers(&forged), &TRUSTED).0, found);
        // The same on the line itself, as a proxy that appends would send it.
        let Some((first, others)) = lines.split_first() else { return };
        let first = [b"203.0.113.66, ".as_slice(), first].concat();
        let forged = [&[first.as_slice()], others].concat();
        assert_eq!(of_request(peer, &headers(&forged), &TRUSTED).0, found);
    }
});

fn is_trusted(address: IpAddr) -> bool {
    TRUSTED.iter().any(|network| network.contains(&address.to_canonical()))
}

fn headers(lines: &[&[u8]]) -> HeaderMap {
    let values = lines.iter().filter_map(|line| HeaderValue::from_bytes(line).ok());
    values.map(|value| (HeaderName::from_static("x-forwarded-for"), value)).collect()
}
