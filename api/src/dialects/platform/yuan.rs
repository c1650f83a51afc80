//! Amounts as this dialect writes them, in yuan: read from and written as decimal text, and never a float on the way.

use postrider_common::database::ledger::MOST_BALANCE;
use serde_json::value::RawValue;

use crate::http::problem::{Code, Problem};

/// A JSON number with one or two decimals: `0.0`, `12.34`.
pub(super) fn from_minor_units(amount: i64) -> Box<RawValue> {
    let sign = if amount < 0 { "-" } else { "" };
    let (yuan, fen) = (amount.unsigned_abs() / 100, amount.unsigned_abs() % 100);
    let decimals = if fen % 10 == 0 { (fen / 10).to_string() } else { format!("{fen:02}") };
    let text = format!("{sign}{yuan}.{decimals}");
    #[expect(clippy::expect_used, reason = "digits with a point between are a JSON number")]
    RawValue::from_string(text).expect("a number")
}

/// An amount above zero with at most two decimals.
pub(super) fn to_minor_units(text: &str) -> Result<i64, Problem> {
    let wrong = |code, detail| Problem::field(Code::FieldsInvalid, "amount", code, detail);
    let text = text.trim();
    let no_number = || wrong("format", "is a number with at most two decimals");
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (yuan, decimals) = digits.split_once('.').unwrap_or((digits, ""));
    let is_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if !(is_digits(yuan) && is_digits(decimals)) || yuan.len() + decimals.len() == 0 {
        return Err(no_number());
    }
    let is_zero = digits.bytes().all(|b| b == b'0' || b == b'.');
    if negative || is_zero {
        return Err(wrong("range", "is above 0"));
    }
    let decimals = decimals.trim_end_matches('0');
    if decimals.len() > 2 {
        return Err(no_number());
    }
    let minor_units = format!("{yuan}{decimals:0<2}").parse::<i64>().ok();
    let fits = minor_units.filter(|amount| *amount <= MOST_BALANCE);
    fits.ok_or_else(|| Problem::new(Code::BalanceTooHigh))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_to_the_last_digit() {
        for (text, amount) in [
            ("1", 100),
            ("0.01", 1),
            (".5", 50),
            ("5.", 500),
            ("+5.10", 510),
            (" 12.3 ", 1230),
            ("0012.340000", 1234),
            ("0.29", 29),
            ("1.15", 115),
            ("4.35", 435),
            ("90071992547409.91", MOST_BALANCE),
        ] {
            assert_eq!(to_minor_units(text).unwrap(), amount, "{text}");
        }
    }

    #[test]
    fn what_is_no_amount_is_told_from_what_is_none_above_zero() {
        let why = |text: &str| {
            let problem = to_minor_units(text).unwrap_err();
            problem.wrong_field().map(|(_, why)| why.to_owned()).unwrap_or_default()
        };
        for text in
            ["", ".", "-", "x", "1,5", "1e2", "nan", "inf", "0x10", "1.001", "1.2.3", "--1", "１"]
        {
            assert_eq!(why(text), "format", "{text}");
        }
        for text in ["0", "0.00", "-1", "-0.001", "-0"] {
            assert_eq!(why(text), "range", "{text}");
        }
        for text in ["90071992547409.92", "99999999999999999999999999"] {
            assert_eq!(to_minor_units(text).unwrap_err().code, Code::BalanceTooHigh, "{text}");
        }
    }

    #[test]
    fn balances_are_written_as_numbers_in_yuan() {
        for (amount, text) in [
            (0, "0.0"),
            (1, "0.01"),
            (10, "0.1"),
            (100, "1.0"),
            (1234, "12.34"),
            (-5, "-0.05"),
            (MOST_BALANCE, "90071992547409.91"),
        ] {
            assert_eq!(from_minor_units(amount).get(), text);
        }
    }
}
