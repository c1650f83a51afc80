//! Bans that would hit so many that they need force.

use std::net::Ipv4Addr;

use ipnet::{IpNet, Ipv6Net};

use super::blacklist::BanKind;
use crate::model::address;
use crate::model::phone::national_digits;

/// Shortest prefix of an IPv4 network that is banned without force.
const MIN_IPV4_PREFIX_LEN: u8 = 8;
/// Shortest prefix of an IPv6 network that is banned without force.
const MIN_IPV6_PREFIX_LEN: u8 = 16;
/// Fewest digits behind the country code of numbers that are banned without force.
const MIN_NATIONAL_DIGITS: usize = 3;

/// The reason that a ban needs force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WideBan {
    #[error("the network is wider than /{MIN_IPV4_PREFIX_LEN}")]
    Ipv4,
    #[error("the network is wider than /{MIN_IPV6_PREFIX_LEN}")]
    Ipv6,
    #[error("the network holds every IPv4 address")]
    AllIpv4,
    #[error("it has fewer than {MIN_NATIONAL_DIGITS} digits after the country code")]
    PhonePrefix,
}

impl BanKind {
    /// Returns why a ban of this value, in its written form, needs force; `None` where it needs none.
    #[must_use]
    pub fn wide(self, value: &str) -> Option<WideBan> {
        match self {
            Self::Cidr => wide_network(value.parse().ok()?),
            Self::PhonePrefix => {
                let digits = national_digits(value)?;
                (digits < MIN_NATIONAL_DIGITS).then_some(WideBan::PhonePrefix)
            }
            Self::Phone | Self::AccountPhone | Self::Ip => None,
        }
    }
}

fn wide_network(network: IpNet) -> Option<WideBan> {
    match address::counted_network(network) {
        IpNet::V4(v4) => (v4.prefix_len() < MIN_IPV4_PREFIX_LEN).then_some(WideBan::Ipv4),
        IpNet::V6(v6) if holds_ipv4(v6) => Some(WideBan::AllIpv4),
        IpNet::V6(v6) => (v6.prefix_len() < MIN_IPV6_PREFIX_LEN).then_some(WideBan::Ipv6),
    }
}

/// Returns whether a network holds all of IPv4, which bans look up as IPv4-mapped addresses.
fn holds_ipv4(network: Ipv6Net) -> bool {
    let ends = [Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST];
    ends.iter().all(|end| network.contains(&end.to_ipv6_mapped()))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn whole_countries_and_their_first_digits_are_wide() {
        let is_wide = |prefix| BanKind::PhonePrefix.wide(prefix).is_some();
        for wide in ["+8", "+86", "+861", "+8613", "+1", "+12", "+120", "+44", "+4479"] {
            assert!(is_wide(wide), "{wide}");
        }
        for narrow in ["+86138", "+1201", "+44791", "+852912", "+8613800138000", "+999"] {
            assert!(!is_wide(narrow), "{narrow}");
        }
    }

    proptest! {
        #[test]
        fn a_network_is_judged_as_the_addresses_that_it_hits(bits in any::<u128>(), len in 0..=128_u8) {
            let network = IpNet::new(Ipv6Addr::from_bits(bits).into(), len).unwrap().trunc();
            let text = address::counted_network(network).to_string();
            let looked_up = address::network_bits(network);
            let mapped = format!("{}{}", "0".repeat(80), "1".repeat(16));
            let expected = if let Some(rest) = looked_up.strip_prefix(&mapped) {
                rest.len() < 8
            } else {
                looked_up.len() < 16 || mapped.starts_with(&looked_up)
            };
            prop_assert_eq!(BanKind::Cidr.wide(&text).is_some(), expected, "{}", text);
        }
    }
}
