//! Decimal digits as keyboards of any script type them.

use rlibphonenumber::PHONE_NUMBER_UTIL;

/// The ASCII digit of a decimal digit in any script (Unicode's category `Nd`); `None` for any other character.
pub(crate) fn to_ascii(character: char) -> Option<char> {
    if character.is_ascii() {
        return Some(character).filter(char::is_ascii_digit);
    }
    PHONE_NUMBER_UTIL.normalize_digits_only(character.encode_utf8(&mut [0; 4])).chars().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn converts_decimal_digits_of_every_script() {
        // ASCII, Arabic, Persian, Devanagari, Bengali, Thai, Tibetan, full-width, Adlam, mathematical bold.
        let zeros = "0٠۰०০๐༠０\u{1e950}\u{1d7ce}";
        for zero in zeros.chars() {
            for digit in 0..10 {
                let character = char::from_u32(u32::from(zero) + digit).unwrap();
                assert_eq!(to_ascii(character), char::from_digit(digit, 10), "{character}");
            }
        }
    }

    #[test]
    fn leaves_other_numerals_and_letters_alone() {
        for character in "aZ+- ²①Ⅷ一〇½٪\u{200b}".chars() {
            assert_eq!(to_ascii(character), None, "{character:?}");
        }
    }
}
