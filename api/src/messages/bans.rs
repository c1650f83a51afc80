//! The bans that may refuse a request, and the subjects that its refusal or failure counts against.

use std::net::IpAddr;

use ipnet::IpNet;
use postrider_common::config::Bans;
use postrider_common::model::address;
use postrider_common::model::phone::PhoneNumber;
use postrider_common::store::{BanCheck, BanSubject, Strike, StrikeAccounts, account_phone};

use crate::http::clock::as_ms;
use crate::messages::limit_subject::{Kind, LimitSubject};

/// Accounts whose failed checks a ban of a phone over all accounts needs: one account alone could shut a phone out of all
/// the others'.
const ACCOUNTS_FOR_PHONE_BAN: u32 = 3;

impl LimitSubject<'_> {
    /// What is on the safe list is looked for nowhere: no ban hits it, a wider one neither.
    pub fn bans(&self, rules: &Bans) -> BanCheck {
        let phone = self.bannable_phone(rules);
        let checked = phone.filter(|_| self.kind == Kind::Check && !self.owner.is_test());
        BanCheck {
            phone: phone.map(|phone| phone.as_e164().to_owned()),
            ip_bits: self.bannable_ip(rules).map(address::bits),
            account_phone: checked.map(|phone| account_phone(self.owner.account_id(), phone)),
        }
    }

    /// Refused sends count against the address alone: a stranger's phone must not be banned by asking for it often.
    /// Failed checks count against the address, the account's checks of the phone, and the phone itself. A phone counts once
    /// within the window against an address, which more users than its own may share. What test keys do counts against
    /// nobody. Only an end user's address is counted: a back end that says none would be banned for what one of its users
    /// does.
    pub fn strikes(&self, rules: &Bans) -> Vec<Strike> {
        if rules.threshold == 0 || self.owner.is_test() {
            return Vec::new();
        }
        let user = self.ip.of_end_user().filter(|ip| !is_safe_address(rules, *ip));
        let address = user.map(|ip| {
            let entry = self.phone.map(|phone| phone.as_e164().to_owned());
            let name = format!("address:{}", address::limit_subject(ip));
            let bits = address::network_bits(address::user_network(ip));
            Strike { entry, ..strike(rules, &name, BanSubject::Network(bits)) }
        });
        let checked = self.bannable_phone(rules).filter(|_| self.kind == Kind::Check);
        let of_phone = checked.map(|phone| self.strikes_of_check(rules, phone));
        address.into_iter().chain(of_phone.into_iter().flatten()).collect()
    }

    fn strikes_of_check(&self, rules: &Bans, phone: &PhoneNumber) -> [Strike; 2] {
        let account_id = self.owner.account_id();
        let (pair, e164) = (account_phone(account_id, phone), phone.as_e164());
        let accounts = StrikeAccounts { account_id, min: ACCOUNTS_FOR_PHONE_BAN };
        let of_all = BanSubject::Phone(e164.to_owned());
        [
            strike(rules, &format!("account-phone:{pair}"), BanSubject::AccountPhone(pair.clone())),
            Strike {
                accounts: Some(accounts),
                ..strike(rules, &format!("all-accounts:{e164}"), of_all)
            },
        ]
    }

    fn bannable_phone(&self, rules: &Bans) -> Option<&PhoneNumber> {
        self.phone.filter(|phone| !is_safe_phone(rules, phone.as_e164()))
    }

    fn bannable_ip(&self, rules: &Bans) -> Option<IpAddr> {
        self.ip.address().filter(|ip| !is_safe_address(rules, *ip))
    }
}

/// Counts each failure by itself. The rule is part of the key, so that another rule begins with a window of its own.
fn strike(rules: &Bans, name: &str, subject: BanSubject) -> Strike {
    Strike {
        key: format!("strike:{name}:{}/{}s", rules.threshold, rules.window.as_secs()),
        threshold: rules.threshold,
        window_ms: as_ms(rules.window),
        ban_ms: as_ms(rules.duration),
        subject,
        entry: None,
        accounts: None,
    }
}

/// Whether a number in E.164 is never banned.
pub fn is_safe_phone(rules: &Bans, e164: &str) -> bool {
    rules.safe_phones.iter().any(|safe| safe == e164)
}

/// Whether an address is never banned.
pub fn is_safe_address(rules: &Bans, address: IpAddr) -> bool {
    let address = address::counted_address(address);
    safe_networks(rules).any(|network| network.contains(&address))
}

/// Whether a network holds only addresses that are never banned.
pub fn is_safe_network(rules: &Bans, network: IpNet) -> bool {
    let network = address::counted_network(network);
    safe_networks(rules).any(|safe| safe.contains(&network))
}

fn safe_networks(rules: &Bans) -> impl Iterator<Item = IpNet> {
    rules.safe_networks.iter().map(|network| address::counted_network(*network))
}

#[cfg(test)]
mod automatic;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::client_ip::UserIp;
    use postrider_common::model::owner::Owner;

    const PHONE: &str = "+8613800138000";

    fn counted(kind: Kind, phone: &PhoneNumber, ip: &str, test: bool) -> (Vec<String>, BanCheck) {
        let rules = Bans {
            safe_phones: vec!["+8613800138001".to_owned()],
            safe_networks: vec!["10.0.0.0/8".parse().unwrap()],
            ..Bans::default()
        };
        let ip = UserIp::from(Some(ip.parse().unwrap()));
        let owner = Owner::new(7, test);
        let counted = LimitSubject { kind, owner, phone: Some(phone), purpose: "login", ip };
        let keys = counted.strikes(&rules).into_iter().map(|strike| strike.key).collect();
        (keys, counted.bans(&rules))
    }

    #[test]
    fn refused_sends_count_against_the_address_and_failed_checks_against_the_phone_too() {
        let phone = PhoneNumber::from_e164(PHONE).unwrap();
        let ip = "strike:address:203.0.113.7:10/600s".to_owned();
        assert_eq!(counted(Kind::Code, &phone, "203.0.113.7", false).0, [ip.as_str()]);
        assert_eq!(counted(Kind::Notice, &phone, "203.0.113.7", false).0, [ip.as_str()]);
        assert_eq!(
            counted(Kind::Check, &phone, "203.0.113.7", false).0,
            [
                ip,
                format!("strike:account-phone:7/{PHONE}:10/600s"),
                format!("strike:all-accounts:{PHONE}:10/600s"),
            ]
        );
        let v6 = counted(Kind::Code, &phone, "2001:db8:1:2:3::4", false).0;
        assert_eq!(v6, ["strike:address:2001:db8:1:2::/64:10/600s"]);
        assert_eq!(counted(Kind::Check, &phone, "203.0.113.7", true).0, [""; 0], "a test key");
    }

    #[test]
    fn a_callers_own_address_is_not_counted_for_what_its_users_do() {
        let rules = Bans::default();
        let address = Some("203.0.113.7".parse().unwrap());
        let phone = PhoneNumber::from_e164(PHONE).unwrap();
        let counted = |ip| {
            let owner = Owner::new(7, false);
            let counted = LimitSubject {
                kind: Kind::Check,
                owner,
                phone: Some(&phone),
                purpose: "login",
                ip,
            };
            (counted.strikes(&rules).len(), counted.bans(&rules).ip_bits.is_some())
        };
        assert_eq!(counted(UserIp::from(address)), (3, true));
        assert_eq!(counted(UserIp::callers(address)), (2, true), "its bans hit it all the same");
    }

    #[test]
    fn what_is_safe_is_neither_counted_nor_looked_for() {
        let safe = PhoneNumber::from_e164("+8613800138001").unwrap();
        let (strikes, bans) = counted(Kind::Check, &safe, "::ffff:10.1.2.3", false);
        assert_eq!(strikes, [""; 0]);
        assert_eq!((bans.phone, bans.ip_bits, bans.account_phone), (None, None, None));
    }

    #[test]
    fn only_checks_of_live_keys_meet_bans_of_an_accounts_checks() {
        let phone = PhoneNumber::from_e164(PHONE).unwrap();
        let looked_for = |kind, test| counted(kind, &phone, "203.0.113.7", test).1.account_phone;
        assert_eq!(looked_for(Kind::Check, false).unwrap(), format!("7/{PHONE}"));
        assert_eq!(looked_for(Kind::Check, true), None);
        assert_eq!(looked_for(Kind::Code, false), None);
        assert_eq!(looked_for(Kind::Notice, false), None);
    }
}
