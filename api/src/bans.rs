//! What a request is looked for among the bans, and what a refusal of it counts against.

use std::net::IpAddr;

use postrider_common::address;
use postrider_common::config::Bans;
use postrider_common::phone::PhoneNumber;
use postrider_common::store::{BanCheck, BanSubject, Strike};

use crate::clock::as_ms;
use crate::guard::{Counted, Kind};

impl Counted<'_> {
    /// What is on the safe list is looked for nowhere: no ban hits it, a wider one neither.
    pub fn bans(&self, rules: &Bans) -> BanCheck {
        BanCheck {
            phone: self.bannable_phone(rules).map(|phone| phone.as_e164().to_owned()),
            ip_bits: self.bannable_ip(rules).map(address::bits),
        }
    }

    /// Refused sends count against the address alone: a stranger's phone must not be banned by asking for it often.
    /// Failed checks count against the address and the phone. What test keys do counts against nobody. Only an end user's
    /// address is counted: a back end that says none would be banned for what one of its users does.
    pub fn strikes(&self, rules: &Bans) -> Vec<Strike> {
        if rules.threshold == 0 || self.owner.is_test() {
            return Vec::new();
        }
        let strike = |name: &str, subject| Strike {
            // The rule is part of the key, so that another rule begins with a window of its own.
            key: format!("strike:{name}:{}/{}s", rules.threshold, rules.window.as_secs()),
            threshold: rules.threshold,
            window_ms: as_ms(rules.window),
            ban_ms: as_ms(rules.duration),
            subject,
        };
        let user = self.ip.of_end_user().filter(|ip| !is_safe_address(rules, *ip));
        let ip = user.map(|ip| {
            let bits = address::network_bits(address::user_network(ip));
            strike(&format!("ip:{}", address::limit_subject(ip)), BanSubject::Network(bits))
        });
        let phone = self.bannable_phone(rules).filter(|_| self.kind == Kind::Check).map(|phone| {
            let phone = phone.as_e164();
            strike(&format!("phone:{phone}"), BanSubject::Phone(phone.to_owned()))
        });
        ip.into_iter().chain(phone).collect()
    }

    fn bannable_phone(&self, rules: &Bans) -> Option<&PhoneNumber> {
        self.phone.filter(|phone| !is_safe_phone(rules, phone.as_e164()))
    }

    fn bannable_ip(&self, rules: &Bans) -> Option<IpAddr> {
        self.ip.address().filter(|ip| !is_safe_address(rules, *ip))
    }
}

/// Whether a number in E.164 is never banned.
pub fn is_safe_phone(rules: &Bans, e164: &str) -> bool {
    rules.safe_phones.iter().any(|safe| safe == e164)
}

/// Whether an address is never banned.
pub fn is_safe_address(rules: &Bans, address: IpAddr) -> bool {
    let address = address.to_canonical();
    rules.safe_networks.iter().any(|network| network.contains(&address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client_ip::UserIp;
    use postrider_common::owner::Owner;

    const PHONE: &str = "+8613800138000";

    fn counted(kind: Kind, phone: &PhoneNumber, ip: &str, test: bool) -> (Vec<String>, BanCheck) {
        let rules = Bans {
            safe_phones: vec!["+8613800138001".to_owned()],
            safe_networks: vec!["10.0.0.0/8".parse().unwrap()],
            ..Bans::default()
        };
        let ip = UserIp::from(Some(ip.parse().unwrap()));
        let owner = Owner::new(7, test);
        let counted = Counted { kind, owner, phone: Some(phone), purpose: "login", ip };
        let keys = counted.strikes(&rules).into_iter().map(|strike| strike.key).collect();
        (keys, counted.bans(&rules))
    }

    #[test]
    fn refused_sends_count_against_the_address_and_failed_checks_against_the_phone_too() {
        let phone = PhoneNumber::from_e164(PHONE).unwrap();
        let ip = "strike:ip:203.0.113.7:10/600s".to_owned();
        assert_eq!(counted(Kind::Code, &phone, "203.0.113.7", false).0, [ip.as_str()]);
        assert_eq!(counted(Kind::Notice, &phone, "203.0.113.7", false).0, [ip.as_str()]);
        assert_eq!(
            counted(Kind::Check, &phone, "203.0.113.7", false).0,
            [ip, format!("strike:phone:{PHONE}:10/600s")]
        );
        let v6 = counted(Kind::Code, &phone, "2001:db8:1:2:3::4", false).0;
        assert_eq!(v6, ["strike:ip:2001:db8:1:2::/64:10/600s"]);
        assert_eq!(counted(Kind::Check, &phone, "203.0.113.7", true).0, [""; 0], "a test key");
    }

    #[test]
    fn a_callers_own_address_is_not_counted_for_what_its_users_do() {
        let rules = Bans::default();
        let address = Some("203.0.113.7".parse().unwrap());
        let phone = PhoneNumber::from_e164(PHONE).unwrap();
        let counted = |ip| {
            let owner = Owner::new(7, false);
            let counted =
                Counted { kind: Kind::Check, owner, phone: Some(&phone), purpose: "login", ip };
            (counted.strikes(&rules).len(), counted.bans(&rules).ip_bits.is_some())
        };
        assert_eq!(counted(UserIp::from(address)), (2, true));
        assert_eq!(counted(UserIp::callers(address)), (1, true), "its bans hit it all the same");
    }

    #[test]
    fn what_is_safe_is_neither_counted_nor_looked_for() {
        let safe = PhoneNumber::from_e164("+8613800138001").unwrap();
        let (strikes, bans) = counted(Kind::Check, &safe, "::ffff:10.1.2.3", false);
        assert_eq!(strikes, [""; 0]);
        assert_eq!((bans.phone, bans.ip_bits), (None, None));
    }
}
