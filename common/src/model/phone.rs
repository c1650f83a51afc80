//! Phone numbers: parsed once at the edge, kept as E.164, masked wherever they are shown.

use std::fmt;
use std::str::FromStr;

use rlibphonenumber::enums::Region;
use rlibphonenumber::{CountryCodeSource, PHONE_NUMBER_UTIL, PhoneNumberFormat, PhoneNumberType};

use crate::model::digits;

/// Fewest digits of a [`PhonePrefix`]: more than any country's code has, which would stand for the whole country.
const MIN_PREFIX_DIGITS: usize = 4;

/// Longest text that is read as a number. E.164 has 15 digits at most; the rest is room for separators.
const MAX_PHONE_CHARS: usize = 32;

/// A valid mobile number in E.164 (`+8613800138000`). `Debug` and `Display` mask it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PhoneNumber(String);

/// Why a text is no phone number that can be texted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PhoneError {
    #[error("must have only digits, spaces and - . ( ), with a + or 00 before the country's code")]
    Character,
    #[error("not a phone number")]
    Unreadable,
    #[error("not a number that is in use")]
    Invalid,
    #[error("not a mobile number")]
    NotMobile,
}

/// How numbers are read: `[server] default_region` and `[phone] also_valid`.
#[derive(Debug, Clone, Default)]
pub struct PhoneRules {
    pub region: DefaultRegion,
    /// Ranges that are accepted although the numbering plans don't know them.
    pub also_valid: Vec<PhonePrefix>,
}

/// The first digits of numbers, behind a `+`: `+86149`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PhonePrefix(String);

/// An ISO 3166 country that numbers without a country code belong to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct DefaultRegion(Region);

impl Default for DefaultRegion {
    fn default() -> Self {
        Self::CN
    }
}

/// The countries that have a numbering plan. The library knows them too, but asked it reads every plan and keeps 9 MB for as
/// long as the process runs, also of a worker, which reads its settings and never a number as people write it.
const COUNTRIES: &str = "\
    AC AD AE AF AG AI AL AM AO AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BW BY \
    BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ \
    FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GT GU GW GY HK HN HR HT HU ID IE IL IM IN IO IQ IR \
    IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH \
    MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK \
    PL PM PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TA \
    TC TD TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG US UY UZ VA VC VE VG VI VN VU WF WS XK YE YT ZA ZM ZW";

impl FromStr for DefaultRegion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Region::from_str(text)
            .ok()
            .filter(|region| COUNTRIES.split(' ').any(|country| country == region.to_string()))
            .map(Self)
            .ok_or_else(|| format!("`{text}` is no two-letter country code in capitals"))
    }
}

impl FromStr for PhonePrefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.strip_prefix('+').unwrap_or_default();
        let is_prefix = (MIN_PREFIX_DIGITS..=14).contains(&digits.len())
            && digits.bytes().all(|b| b.is_ascii_digit())
            && !digits.starts_with('0');
        is_prefix.then(|| Self(text.to_owned())).ok_or_else(|| {
            format!(
                "`{text}` is no prefix like +86149: + and 4 to 14 digits, the country's code first"
            )
        })
    }
}

impl<'de> serde::Deserialize<'de> for PhonePrefix {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Reads the numbering plans, which takes some 13 ms, so that the first number that is parsed doesn't wait for it.
pub fn read_plans() {
    std::sync::LazyLock::force(&PHONE_NUMBER_UTIL);
}

/// Returns how many digits of the beginning of an E.164 number follow its country code: none where the country code isn't
/// whole. `None` where no country has it.
#[must_use]
pub fn national_digits(beginning: &str) -> Option<usize> {
    let digits = beginning.strip_prefix('+')?;
    let mut codes = PHONE_NUMBER_UTIL.get_supported_calling_codes().map(|code| code.to_string());
    codes.find_map(|code| match digits.strip_prefix(&code) {
        Some(national) => Some(national.len()),
        None => code.starts_with(digits).then_some(0),
    })
}

impl DefaultRegion {
    /// Mainland China.
    pub const CN: Self = Self(Region::CN);
}

impl<'de> serde::Deserialize<'de> for DefaultRegion {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Debug for DefaultRegion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_string())
    }
}

impl PhoneNumber {
    /// Reads E.164 or a national number of the region, in any script's digits. The number must be valid and a mobile one
    /// (or one of the ranges where mobile and fixed can't be told apart), or of a range that is also valid and as long as
    /// its country's mobile numbers.
    ///
    /// # Errors
    /// Also for a text that has more than one number in it, or anything beside it: cut off, it could be a typing error
    /// that sends the message to somebody else.
    pub fn parse(text: &str, rules: &PhoneRules) -> Result<Self, PhoneError> {
        let digits = ascii_digits(text)?;
        let number = PHONE_NUMBER_UTIL
            .parse_and_keep_raw_input(&digits, Some(rules.region.0))
            .map_err(|_| PhoneError::Unreadable)?;
        // The library also cuts off what is dialled before a number: a carrier's code, another country's way out.
        let is_cut = !number.preferred_domestic_carrier_code().is_empty()
            || number.country_code_source() == CountryCodeSource::FromNumberWithIdd;
        if is_cut {
            return Err(PhoneError::Unreadable);
        }
        let phone = Self(PHONE_NUMBER_UTIL.format(&number, PhoneNumberFormat::E164).into_owned());
        let is_long_enough =
            || PHONE_NUMBER_UTIL.is_possible_number_for_type(&number, PhoneNumberType::Mobile);
        if rules.also_valid.iter().any(|prefix| phone.0.starts_with(&prefix.0)) && is_long_enough()
        {
            return Ok(phone);
        }
        if !PHONE_NUMBER_UTIL.is_valid_number(&number) {
            return Err(PhoneError::Invalid);
        }
        match PHONE_NUMBER_UTIL.get_number_type(&number) {
            PhoneNumberType::Mobile | PhoneNumberType::FixedLineOrMobile => Ok(phone),
            _ => Err(PhoneError::NotMobile),
        }
    }

    /// Takes back what [`Self::as_e164`] gave out. Checks the shape alone, not the numbering plan: a
    /// number that was valid when it was accepted stays readable.
    pub fn from_e164(text: &str) -> Result<Self, PhoneError> {
        let digits = text.strip_prefix('+').ok_or(PhoneError::Unreadable)?;
        let shape = (7..=15).contains(&digits.len())
            && digits.bytes().all(|b| b.is_ascii_digit())
            && !digits.starts_with('0');
        shape.then(|| Self(text.to_owned())).ok_or(PhoneError::Unreadable)
    }

    /// The number in the clear, for the store's keys, the database and the provider. Never log it.
    #[must_use]
    pub fn as_e164(&self) -> &str {
        &self.0
    }

    /// All but the last four digits: what the `prefix` limit counts by.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.0[..self.0.len() - 4]
    }

    /// Whether the number is one of this country's. (Countries that share a calling code are told apart; a number that
    /// no plan knows is of the main one.)
    #[must_use]
    pub fn is_of(&self, country: DefaultRegion) -> bool {
        let Ok(number) = PHONE_NUMBER_UTIL.parse(&self.0, None) else { return false };
        // Not `is_valid_number_for_region`, which doesn't compare calling codes.
        let known = PHONE_NUMBER_UTIL.get_region_for_number(&number);
        let region =
            known.or_else(|| PHONE_NUMBER_UTIL.get_region_for_country_code(number.country_code));
        region == Some(country.0)
    }

    /// The number as it may be shown: `+86138****8000`.
    #[must_use]
    pub fn masked(&self) -> String {
        let len = self.0.len();
        // Four digits stay at the end, four are starred; a short number keeps at least its `+`.
        let start = len.saturating_sub(8).max(1);
        format!("{}****{}", &self.0[..start], &self.0[len - 4..])
    }
}

/// The digits of a number as somebody wrote it, behind a `+` if its country's code comes first.
fn ascii_digits(text: &str) -> Result<String, PhoneError> {
    if text.chars().nth(MAX_PHONE_CHARS).is_some() {
        return Err(PhoneError::Unreadable);
    }
    let mut digits = String::with_capacity(MAX_PHONE_CHARS);
    for character in text.chars() {
        match character {
            ' ' | '-' | '.' | '(' | ')' => {}
            '+' | '＋' if digits.is_empty() => digits.push('+'),
            _ => digits.push(digits::to_ascii(character).ok_or(PhoneError::Character)?),
        }
    }
    Ok(match digits.strip_prefix("00") {
        Some(international) => format!("+{international}"),
        None => digits,
    })
}

impl PhoneNumber {
    /// The text with the number masked wherever it stands in it: with `+`, without, or in its national form, as it ends
    /// alike in each.
    #[must_use]
    pub fn blot(&self, text: &str) -> String {
        let (_, digits) = self.0.split_at(1);
        let (rest, last) = digits.split_at(digits.len() - 4);
        let tail = &digits[rest.len().saturating_sub(4)..];
        text.replace(tail, &format!("****{last}"))
    }
}

impl fmt::Display for PhoneNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.masked())
    }
}

impl fmt::Debug for PhoneNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.masked())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rules(region: &str) -> PhoneRules {
        PhoneRules { region: region.parse().unwrap(), also_valid: Vec::new() }
    }

    fn cn() -> PhoneRules {
        rules("CN")
    }

    #[test]
    fn the_countries_are_those_of_the_library() {
        let mut known: Vec<_> =
            PHONE_NUMBER_UTIL.get_supported_regions().map(|region| region.to_string()).collect();
        known.sort_unstable();
        assert_eq!(COUNTRIES.split(' ').collect::<Vec<_>>(), known);
        assert!("ZZ".parse::<DefaultRegion>().is_err());
        assert!("China".parse::<DefaultRegion>().is_err());
    }

    #[test]
    fn national_and_e164_forms_are_one_number() {
        for text in ["13800138000", "+8613800138000", "+86 138 0013 8000", "138-0013-8000"] {
            assert_eq!(PhoneNumber::parse(text, &cn()).unwrap().as_e164(), "+8613800138000");
        }
    }

    #[test]
    fn accepts_separators_and_digits_of_every_script() {
        for text in [
            "１３８００１３８０００",
            "＋８６１３８００１３８０００",
            "＋８６ １３８-００１３-８０００",
            "١٣٨٠٠١٣٨٠٠٠",
            "१३८००१३८०००",
            "𝟏𝟑𝟖𝟎𝟎𝟏𝟑𝟖𝟎𝟎𝟎",
            "0086 138 0013 8000",
            "００８６１３８００１３８０００",
            "8613800138000",
            "(+86) 138.0013.8000",
            "0138 0013 8000",
            " 13800138000 ",
        ] {
            let phone = PhoneNumber::parse(text, &cn());
            assert_eq!(phone.unwrap().as_e164(), "+8613800138000", "{text}");
        }
        let us = rules("US");
        for text in ["+86 138 0013 8000", "0086 138 0013 8000"] {
            assert_eq!(
                PhoneNumber::parse(text, &us).unwrap().as_e164(),
                "+8613800138000",
                "{text}"
            );
        }
        let phone = PhoneNumber::parse("+44 (0)7911 123456", &cn());
        assert_eq!(phone.unwrap().as_e164(), "+447911123456");
    }

    #[test]
    fn refuses_text_around_a_number_and_letters_in_it() {
        for text in [
            "13800138001;13900139001",
            "13800138001,13900139001",
            "13800138001/13900139001",
            "13800138002x123",
            "13800138002#123",
            "13800138003 ext. 5",
            "call 13911112222 ext. 9",
            "138abcd5678",
            "1-800-FLOWERS",
            "tel:+8613800138000",
            "13800138000;phone-context=+86",
            "+8613800138000;isub=1",
            "13800138000\n",
            "\u{200e}13800138000",
            "13８００１３８０００x",
            "138\u{2460}0138000",
            "一三八零零一三八零零零",
            "13800138000*",
        ] {
            assert_eq!(PhoneNumber::parse(text, &cn()), Err(PhoneError::Character), "{text:?}");
        }
        for text in ["138+0013+8000", "13800138000+", "++8613800138000", "+86+13800138000", "+", ""]
        {
            let refused = PhoneNumber::parse(text, &cn()).unwrap_err();
            assert!(matches!(refused, PhoneError::Character | PhoneError::Unreadable), "{text:?}");
        }
    }

    /// Codes of carriers, which the library cuts off as it does a national prefix.
    #[test]
    fn refuses_digits_before_a_number_that_are_no_part_of_it() {
        for text in ["12345 13800138000", "1795113800138000", "12345 00 86 13800138000"] {
            assert!(PhoneNumber::parse(text, &cn()).is_err(), "{text}");
        }
        assert!(PhoneNumber::parse("13800138001 13900139001", &cn()).is_err());
    }

    /// Ranges of mainland China that begin with this and aren't accepted, told by up to five digits.
    fn refused_ranges(prefix: &str) -> Vec<String> {
        if prefix.len() == 5 {
            let refused = PhoneNumber::parse(&format!("+86{prefix}123456"), &cn()).is_err();
            return refused.then(|| prefix.to_owned()).into_iter().collect();
        }
        let longer = (0..10).map(|digit| format!("{prefix}{digit}"));
        let (longer, refused): (Vec<_>, Vec<_>) =
            longer.map(|longer| (longer.clone(), refused_ranges(&longer))).unzip();
        let refused: Vec<_> = refused.into_iter().flatten().collect();
        if refused == longer { vec![prefix.to_owned()] } else { refused }
    }

    #[test]
    fn docs_list_the_mainland_ranges_that_the_plan_refuses() {
        let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operations.md");
        let refused: Vec<_> =
            (3..10).flat_map(|digit| refused_ranges(&format!("1{digit}"))).collect();
        let list = format!("`{}`", refused.join("`, `"));
        let docs = std::fs::read_to_string(docs).unwrap().replace('\n', " ");
        assert!(docs.contains(&list), "docs/operations.md doesn't list {list}");
    }

    #[test]
    fn accepts_ranges_that_the_operator_says_are_valid() {
        let number = "+8614912345678";
        assert_eq!(PhoneNumber::parse(number, &cn()), Err(PhoneError::Invalid));
        let also_valid = vec!["+86149".parse().unwrap(), "+1310555".parse().unwrap()];
        let also = PhoneRules { also_valid, ..cn() };
        for text in ["14912345678", number, "0086 149 1234 5678"] {
            let phone = PhoneNumber::parse(text, &also).unwrap();
            assert_eq!(phone.as_e164(), number);
            assert!(phone.is_of(DefaultRegion::CN));
        }
        for text in ["1541234567", "149123456789", "1541234", "+86155", "+8614912345678x"] {
            assert!(PhoneNumber::parse(text, &also).is_err(), "{text}");
        }
        let phone = PhoneNumber::parse("+1 310 555 0123", &also).unwrap();
        assert!(phone.is_of("US".parse().unwrap()));
        assert!(PhoneNumber::parse("+1 310 555 01234", &also).is_err());
    }

    #[test]
    fn a_prefix_has_a_plus_and_more_than_a_countrys_code() {
        for text in ["+86149", "+8614", "+13105"] {
            assert!(text.parse::<PhonePrefix>().is_ok(), "{text}");
        }
        for text in
            ["", "+", "+86", "+861", "86149", "+0149", "+86 149", "+86149x", "+123456789012345"]
        {
            assert!(text.parse::<PhonePrefix>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_texted_is_refused() {
        assert_eq!(PhoneNumber::parse("abc", &cn()), Err(PhoneError::Character));
        assert_eq!(PhoneNumber::parse(&"1".repeat(4000), &cn()), Err(PhoneError::Unreadable));
        assert_eq!(PhoneNumber::parse("12345", &cn()), Err(PhoneError::Invalid));
        assert_eq!(PhoneNumber::parse("+861065529988", &cn()), Err(PhoneError::NotMobile));
    }

    #[test]
    fn shown_it_is_masked() {
        let phone = PhoneNumber::parse("13800138000", &cn()).unwrap();
        assert_eq!(format!("{phone} {phone:?}"), "+86138****8000 +86138****8000");
        assert_eq!(phone.prefix(), "+861380013");
        let shortest = PhoneNumber::from_e164("+2901234").unwrap();
        assert_eq!(shortest.masked(), "+****1234");
    }

    #[test]
    fn it_is_masked_in_a_text_in_every_form() {
        let phone = PhoneNumber::from_e164("+8613912345678").unwrap();
        for form in ["+8613912345678", "8613912345678", "008613912345678", "13912345678"] {
            let text = phone.blot(&format!("{form}invalid mobile number, {form}"));
            assert!(!text.contains("1234"), "{text}");
            assert_eq!(text.matches("139****5678").count(), 2, "{text}");
        }
        assert_eq!(phone.blot("no number"), "no number");
        let short = PhoneNumber::from_e164("+1234567").unwrap();
        assert_eq!(short.blot("to 1234567"), "to ****4567");
    }

    #[test]
    fn e164_is_taken_back_by_its_shape() {
        assert!(PhoneNumber::from_e164("+8613800138000").is_ok());
        for text in ["8613800138000", "+0123456789", "+86138001380001234", "+86138x0138000", "+123"]
        {
            assert!(PhoneNumber::from_e164(text).is_err(), "{text}");
        }
    }

    #[test]
    fn countries_that_share_a_calling_code_are_told_apart() {
        let of = |text: &str, country: &str| {
            PhoneNumber::from_e164(text).unwrap().is_of(country.parse().unwrap())
        };
        assert!(of("+8613800138000", "CN") && !of("+8613800138000", "HK"));
        assert!(of("+14155552671", "US") && !of("+14155552671", "CA"));
        assert!(of("+16045550123", "CA") && !of("+16045550123", "US"));
        assert!(of("+18765550123", "JM") && !of("+18765550123", "US"));
        // Of another calling code, with what would be a mobile number in mainland China.
        assert!(!of("+113800138000", "CN"));
    }

    #[test]
    fn a_region_must_exist() {
        assert!("CN".parse::<DefaultRegion>().is_ok());
        assert!("XX".parse::<DefaultRegion>().is_err());
        assert!("china".parse::<DefaultRegion>().is_err());
    }

    fn any_text() -> impl Strategy<Value = String> {
        prop_oneof![
            any::<String>(),
            // What looks like a number, also in other scripts' digits, and with an extension.
            "[+＋]?[0-9０-９٠-٩ ()./;ext=x#*,-]{0,34}",
            "(\\+|00|)(86|)[ (-]{0,2}1[3-9][0-9]{9}[ ;,/x#.-]{0,2}(ext|call|)[0-9]{0,12}",
            "[0-9]{1,6} ?(\\+|00|)(86|)1[3-9][0-9]{9}",
            "(\\+86|0086|86|)[- ]?1[3-9][0-9]{8,10}",
            "\\+[1-9][0-9]{5,15}",
        ]
    }

    proptest! {
        #[test]
        fn whatever_is_taken_is_e164_is_read_back_as_itself_and_is_masked(
            text in any_text(),
            region in prop::sample::select(vec!["CN", "US", "DE", "HK", "BR", "SH"]),
        ) {
            let rules = rules(region);
            let Ok(phone) = PhoneNumber::parse(&text, &rules) else { return Ok(()) };
            let e164 = phone.as_e164();
            prop_assert_eq!(PhoneNumber::from_e164(e164), Ok(phone.clone()));
            prop_assert_eq!(PhoneNumber::parse(e164, &rules), Ok(phone.clone()));
            prop_assert_eq!(phone.prefix(), &e164[..e164.len() - 4]);
            let masked = phone.masked();
            let (start, end) = masked.split_once("****").unwrap();
            prop_assert!(e164.starts_with(start) && e164.ends_with(end) && end.len() == 4);
            prop_assert!(start.len() + end.len() + 2 <= e164.len(), "{} shows too much", masked);
            prop_assert_eq!(format!("{phone} {phone:?}"), format!("{masked} {masked}"));
        }

        #[test]
        fn whatever_is_taken_has_no_letter_and_no_second_number(
            text in any_text(),
            region in prop::sample::select(vec!["CN", "US", "DE", "HK", "SH"]),
        ) {
            let Ok(phone) = PhoneNumber::parse(&text, &rules(region)) else { return Ok(()) };
            prop_assert!(!text.contains(char::is_alphabetic), "{}", text);
            let digits: String = text.chars().filter_map(digits::to_ascii).collect();
            // `00`, and a national prefix of three digits at the most, are all that a number has beside its own digits.
            let more = digits.len().saturating_sub(phone.as_e164().len() - 1);
            prop_assert!(more <= 5, "{} is {}", text, phone.as_e164());
            let Some(national) = phone.as_e164().strip_prefix("+86") else { return Ok(()) };
            let before = digits.strip_suffix(national);
            let allowed = ["", "0", "86", "860", "0086", "00860"];
            prop_assert!(before.is_some_and(|before| allowed.contains(&before)), "{}", text);
        }

        #[test]
        fn whatever_has_the_shape_is_taken_back_and_masked(
            text in prop_oneof![any::<String>(), "\\+?[0-9]{5,17}"],
        ) {
            if let Ok(phone) = PhoneNumber::from_e164(&text) {
                prop_assert_eq!(phone.as_e164(), &text);
                prop_assert!(!phone.masked().contains(&text[1..]));
                // Neither may fail for a number that no plan knows.
                let _either = phone.is_of(DefaultRegion::CN);
                prop_assert_eq!(phone.prefix().len(), text.len() - 4);
            }
        }
    }
}
