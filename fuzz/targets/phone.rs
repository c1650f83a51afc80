//! Any text as a phone number: what is taken has one number in it and nothing else, is E.164, is read back as itself, and
//! is masked wherever it is shown.

#![no_main]

use libfuzzer_sys::fuzz_target;
use postrider_common::model::digits;
use postrider_common::model::phone::{DefaultRegion, PhoneNumber, PhoneRules};

const REGIONS: [&str; 6] = ["CN", "US", "DE", "HK", "BR", "SH"];

fuzz_target!(|text: &str| {
    let region: DefaultRegion = REGIONS[text.len() % REGIONS.len()].parse().unwrap();
    let rules = PhoneRules { region, also_valid: Vec::new() };
    if let Ok(phone) = PhoneNumber::parse(text, &rules) {
        let e164 = phone.as_e164();
        assert_eq!(PhoneNumber::from_e164(e164), Ok(phone.clone()));
        assert_eq!(PhoneNumber::parse(e164, &rules), Ok(phone.clone()));
        is_masked(&phone);
        is_whole(text, &phone);
    }
    if let Ok(phone) = PhoneNumber::from_e164(text) {
        assert_eq!(phone.as_e164(), text);
        is_masked(&phone);
        // Neither may fail for a number that no plan knows.
        let _either = phone.is_of(region);
    }
});

fn is_masked(phone: &PhoneNumber) {
    let (e164, masked) = (phone.as_e164(), phone.masked());
    assert_eq!(phone.prefix(), &e164[..e164.len() - 4]);
    let (start, end) = masked.split_once("****").unwrap();
    assert!(e164.starts_with(start) && e164.ends_with(end) && end.len() == 4);
    assert!(start.len() + end.len() + 2 <= e164.len(), "{masked} shows too much");
    assert_eq!(format!("{phone} {phone:?}"), format!("{masked} {masked}"));
}

/// Nothing was cut off around the number but `00` and a national prefix.
fn is_whole(text: &str, phone: &PhoneNumber) {
    let is_separator = |c: &char| "+＋ -.()".contains(*c);
    let digits: Vec<_> = text.chars().filter(|c| !is_separator(c)).collect();
    assert!(digits.iter().all(|digit| digits::to_ascii(*digit).is_some()), "{text:?}");
    assert!(digits.len() <= phone.as_e164().len() + 4, "{text:?} is {}", phone.as_e164());
}
