//! No two numbers reach the vendor as one.

use proptest::prelude::*;

use super::super::*;

fn phone(e164: &str) -> PhoneNumber {
    PhoneNumber::from_e164(e164).unwrap()
}

/// The number that the vendor reads in a text, in E.164: 11 digits of a mainland mobile number are one, with or without
/// `86`, `+86` or `0086`; anything else begins with its country code.
fn read(text: &str) -> String {
    if let Some(digits) = text.strip_prefix('+').or_else(|| text.strip_prefix("00")) {
        return format!("+{digits}");
    }
    let bytes = text.as_bytes();
    let mobile = bytes.len() == 11 && bytes[0] == b'1' && (b'3'..=b'9').contains(&bytes[1]);
    if mobile { format!("+86{text}") } else { format!("+{text}") }
}

#[test]
fn numbers_are_written_as_the_vendor_wants_them() {
    assert_eq!(number(&phone("+8613800138000"), None).as_deref(), Some("13800138000"));
    assert_eq!(number(&phone("+85291234567"), None).as_deref(), Some("85291234567"));
    assert_eq!(number(&phone("+85291234567"), Some("00")).as_deref(), Some("0085291234567"));
    assert_eq!(number(&phone("+13105552671"), Some("00")).as_deref(), Some("0013105552671"));
    assert_eq!(number(&phone("+8613800138000"), Some("00")).as_deref(), Some("13800138000"));
    assert_eq!(number(&phone("+12125552671"), None).as_deref(), Some("12125552671"));
    assert_eq!(number(&phone("+13105552671"), None), None, "it would be read as +8613105552671");
}

/// A number of every calling code, and numbers whose digits are those of a mainland one.
fn any_number() -> impl Strategy<Value = PhoneNumber> {
    prop_oneof![
        (1..1000_u32, "[0-9]{6,12}").prop_map(|(code, rest)| format!("+{code}{rest}")),
        "\\+1[3-9][0-9]{9}",
        "\\+861[3-9][0-9]{9}",
        "\\+86[0-9]{5,12}",
        "\\+[1-9][0-9]{6,14}",
    ]
    .prop_filter_map("E.164", |text| PhoneNumber::from_e164(&text).ok())
}

proptest! {
    #[test]
    fn every_number_is_read_as_itself_or_not_sent(phone in any_number()) {
        for prefix in [None, Some("00"), Some("+")] {
            let written = number(&phone, prefix);
            prop_assert!(written.is_some() || prefix.is_none());
            if let Some(written) = written {
                prop_assert_eq!(read(&written), phone.as_e164(), "written as {}", written);
            }
        }
    }

    #[test]
    fn no_two_numbers_are_written_alike(
        digits in "1[3-9][0-9]{9}",
        other in any_number(),
    ) {
        let (foreign, mainland) = (phone(&format!("+{digits}")), phone(&format!("+86{digits}")));
        for prefix in [None, Some("00"), Some("+")] {
            let written = [&foreign, &mainland, &other].map(|phone| (phone, number(phone, prefix)));
            for (first, as_first) in &written {
                for (second, as_second) in &written {
                    let alike = as_first.is_some() && as_first == as_second;
                    prop_assert!(!alike || first == second, "{:?}", as_first);
                }
            }
        }
    }
}

/// One number of each calling code that exists or may come to be, of each length of a mobile number.
#[test]
fn every_calling_code_keeps_its_numbers_apart_from_the_mainlands() {
    for code in 1..=999 {
        for length in 7..=15_usize {
            let mut digits = code.to_string();
            while digits.len() < length {
                digits.push(char::from(b'3' + u8::try_from(digits.len() % 7).unwrap()));
            }
            let Ok(phone) = PhoneNumber::from_e164(&format!("+{digits}")) else { continue };
            if let Some(written) = number(&phone, None) {
                assert_eq!(read(&written), phone.as_e164());
            }
            assert_eq!(read(&number(&phone, Some("00")).unwrap()), phone.as_e164());
        }
    }
}
