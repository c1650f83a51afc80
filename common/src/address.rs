//! Addresses as the store knows them: in bits, so that a network is the beginning of an address.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;

/// An address as 128 characters `0` and `1`, IPv4 as its IPv4-mapped IPv6 address.
#[must_use]
pub fn bits(address: IpAddr) -> String {
    format!("{:0128b}", as_v6(address).to_bits())
}

/// A network as the beginning of its addresses' bits.
#[must_use]
pub fn network_bits(network: IpNet) -> String {
    let length = match network {
        IpNet::V4(network) => 96 + network.prefix_len(),
        IpNet::V6(network) => network.prefix_len(),
    };
    let mut text = bits(network.network());
    text.truncate(usize::from(length));
    text
}

/// The network whose addresses begin with these bits: the inverse of [`network_bits`].
#[must_use]
pub fn network_of_bits(bits: &str) -> Option<IpNet> {
    let length = u8::try_from(bits.len()).ok().filter(|length| *length <= 128)?;
    if !bits.bytes().all(|bit| matches!(bit, b'0' | b'1')) {
        return None;
    }
    let address = Ipv6Addr::from_bits(u128::from_str_radix(&format!("{bits:0<128}"), 2).ok()?);
    match (address.to_ipv4_mapped(), length.checked_sub(96)) {
        (Some(address), Some(length)) => IpNet::new(address.into(), length).ok(),
        _ => IpNet::new(address.into(), length).ok(),
    }
}

/// What counts as one user's addresses: an IPv4 address, or an IPv6 address's /64.
#[must_use]
pub fn user_network(address: IpAddr) -> IpNet {
    let address = address.to_canonical();
    let length = if address.is_ipv4() { 32 } else { 64 };
    IpNet::new(address, length).map_or_else(|_| address.into(), |network| network.trunc())
}

/// What the limits of addresses count by: an IPv4 address, or an IPv6 address's /64.
#[must_use]
pub fn limit_subject(address: IpAddr) -> String {
    match user_network(address) {
        IpNet::V4(network) => network.addr().to_string(),
        IpNet::V6(network) => network.to_string(),
    }
}

fn as_v6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_the_beginning_of_its_addresses() {
        let hits = |network: &str, address: &str| {
            bits(address.parse().unwrap()).starts_with(&network_bits(network.parse().unwrap()))
        };
        assert!(hits("203.0.113.0/24", "203.0.113.7") && !hits("203.0.113.0/24", "203.0.114.7"));
        assert!(hits("203.0.113.9/24", "::ffff:203.0.113.7"));
        assert!(
            hits("2001:db8::/33", "2001:db8:7fff::1") && !hits("2001:db8::/33", "2001:db8:8000::1")
        );
        assert_eq!(bits("::1".parse().unwrap()).len(), 128);
    }

    #[test]
    fn bits_are_read_back_as_their_network() {
        for text in ["203.0.113.7/32", "203.0.113.0/24", "0.0.0.0/0", "2001:db8::/33", "::/0"] {
            let network: IpNet = text.parse().unwrap();
            assert_eq!(network_of_bits(&network_bits(network)), Some(network), "{text}");
        }
        for text in ["2", "x", "+1", &"0".repeat(129)] {
            assert_eq!(network_of_bits(text), None, "{text}");
        }
    }

    #[test]
    fn limits_count_a_v6_network_as_one() {
        assert_eq!(limit_subject("::ffff:203.0.113.7".parse().unwrap()), "203.0.113.7");
        assert_eq!(limit_subject("2001:db8:1:2:3:4:5:6".parse().unwrap()), "2001:db8:1:2::/64");
    }
}
