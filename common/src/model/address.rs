//! Addresses as limits and bans count them: an IPv4 address within an IPv6 one by itself, and in bits, so that a network is
//! the beginning of an address. What a network is trusted with (proxies, API keys, `anonymous`) is never read this way.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net};

/// The well-known prefix of NAT64 (RFC 6052), which an IPv4 address follows.
const NAT64_PREFIX: u128 = 0x0064_ff9b << 96;
/// Length of a prefix that an IPv4 address follows, in bits.
const EMBEDDED_AT: u8 = 96;

/// The address that limits and bans count: of an IPv4-mapped or a NAT64 address the IPv4 address within it.
#[must_use]
pub fn counted_address(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => embedded_ipv4(v6).map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    }
}

/// The network that limits and bans count: one of IPv4-mapped or NAT64 addresses as that of the IPv4 addresses within.
#[must_use]
pub fn counted_network(network: IpNet) -> IpNet {
    let network = network.trunc();
    let embedded = embedded_ipv4_of(network).zip(network.prefix_len().checked_sub(EMBEDDED_AT));
    embedded.and_then(|(v4, len)| Ipv4Net::new(v4, len).ok()).map_or(network, IpNet::V4)
}

/// Returns whether a network that isn't counted as IPv4 holds NAT64 addresses, which are, and no other that is.
#[must_use]
pub fn is_around_nat64(network: IpNet) -> bool {
    let IpNet::V6(v6) = counted_network(network) else { return false };
    let ipv4 = Ipv4Addr::UNSPECIFIED.to_ipv6_mapped();
    v6.contains(&Ipv6Addr::from_bits(NAT64_PREFIX)) && !v6.contains(&ipv4)
}

fn embedded_ipv4_of(network: IpNet) -> Option<Ipv4Addr> {
    match network {
        IpNet::V6(v6) => embedded_ipv4(v6.network()),
        IpNet::V4(_) => None,
    }
}

fn embedded_ipv4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let is_nat64 = address.to_bits() >> 32 == NAT64_PREFIX >> 32;
    let [.., a, b, c, d] = address.octets();
    address.to_ipv4_mapped().or_else(|| is_nat64.then(|| Ipv4Addr::new(a, b, c, d)))
}

/// A counted address as 128 characters `0` and `1`, IPv4 as its IPv4-mapped IPv6 address.
#[must_use]
pub fn bits(address: IpAddr) -> String {
    format!("{:0128b}", as_v6(counted_address(address)).to_bits())
}

/// A counted network as the beginning of its addresses' bits.
#[must_use]
pub fn network_bits(network: IpNet) -> String {
    let network = counted_network(network);
    let length = match network {
        IpNet::V4(network) => EMBEDDED_AT + network.prefix_len(),
        IpNet::V6(network) => network.prefix_len(),
    };
    let mut text = format!("{:0128b}", as_v6(network.network()).to_bits());
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
    match (address.to_ipv4_mapped(), length.checked_sub(EMBEDDED_AT)) {
        (Some(address), Some(length)) => IpNet::new(address.into(), length).ok(),
        _ => IpNet::new(address.into(), length).ok(),
    }
}

/// The addresses that count as one user's: a counted IPv4 address, or an IPv6 address's /64.
#[must_use]
pub fn user_network(address: IpAddr) -> IpNet {
    let address = counted_address(address);
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
    use proptest::prelude::*;

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
    fn an_embedded_ipv4_address_counts_as_itself() {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let network = |text: &str| counted_network(text.parse().unwrap()).to_string();
        for text in ["64:ff9b::203.0.113.7", "::ffff:203.0.113.7", "203.0.113.7"] {
            assert_eq!(counted_address(address(text)), address("203.0.113.7"), "{text}");
            assert_eq!(bits(address(text)), bits(address("203.0.113.7")), "{text}");
            assert_eq!(limit_subject(address(text)), "203.0.113.7", "{text}");
        }
        // The prefix that operators may choose (RFC 8215), its neighbours, and other addresses with digits of IPv4 in them.
        for text in
            ["64:ff9b:1::cb00:7107", "64:ff9b::1:cb00:7107", "2002:cb00:7107::1", "::cb00:7107"]
        {
            assert_eq!(counted_address(address(text)), address(text));
        }
        assert_eq!(network("64:ff9b::/96"), "0.0.0.0/0");
        assert_eq!(network("64:ff9b::cb00:7107/120"), "203.0.113.0/24");
        assert_eq!(network("::ffff:203.0.113.7/128"), "203.0.113.7/32");
        assert_eq!(network("64:ff9b::/95"), "64:ff9b::/95");
        assert_eq!(network("2001:db8::1/32"), "2001:db8::/32");
    }

    proptest! {
        #[test]
        fn every_network_counts_as_one_that_holds_its_addresses(
            address in prop_oneof![
                any::<u128>().prop_map(Ipv6Addr::from_bits),
                any::<u32>().prop_map(|v4| Ipv6Addr::from_bits(NAT64_PREFIX | u128::from(v4))),
                any::<u32>().prop_map(|v4| Ipv4Addr::from_bits(v4).to_ipv6_mapped()),
            ],
            length in EMBEDDED_AT..=128,
        ) {
            let network = IpNet::new(address.into(), length).unwrap();
            let counted = counted_network(network);
            prop_assert!(counted.contains(&counted_address(address.into())));
            prop_assert!(bits(address.into()).starts_with(&network_bits(network)));
            prop_assert_eq!(network_of_bits(&network_bits(network)), Some(counted));
            prop_assert_eq!(counted_network(counted), counted);
        }

        #[test]
        fn one_nat64_address_counts_as_one_ipv4_address(v4 in any::<u32>(), other in any::<u32>()) {
            let nat64 = |v4| IpAddr::V6(Ipv6Addr::from_bits(NAT64_PREFIX | u128::from(v4)));
            let plain = IpAddr::V4(Ipv4Addr::from_bits(v4));
            prop_assert_eq!(counted_address(nat64(v4)), plain);
            prop_assert_eq!(bits(nat64(v4)), bits(plain));
            prop_assert_eq!(bits(nat64(v4)) == bits(nat64(other)), v4 == other);
        }
    }

    #[test]
    fn limits_count_a_v6_network_as_one() {
        assert_eq!(limit_subject("::ffff:203.0.113.7".parse().unwrap()), "203.0.113.7");
        assert_eq!(limit_subject("2001:db8:1:2:3:4:5:6".parse().unwrap()), "2001:db8:1:2::/64");
    }
}
