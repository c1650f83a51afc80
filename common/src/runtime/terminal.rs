//! Text on a terminal.

/// Text from elsewhere as a terminal may get it: characters that control it, or reorder what is shown, are escaped.
#[must_use]
pub fn printable(text: &str) -> String {
    let controls = |c: char| {
        c.is_control()
            || matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    // As JSON escapes them: all are in the first plane.
    let printed = |c| if controls(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() };
    text.chars().map(printed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_controls_a_terminal_is_escaped() {
        assert_eq!(printable("余额不足 (isv.X) é"), "余额不足 (isv.X) é");
        assert_eq!(printable("a\u{1b}[2Jb\nc\r\t"), "a\\u001b[2Jb\\u000ac\\u000d\\u0009");
        assert_eq!(printable("\u{7f}\u{9b}\u{202e}\u{2066}"), "\\u007f\\u009b\\u202e\\u2066");
        let json = serde_json::json!({"a": "x\u{9b}\u{1b}"}).to_string();
        let printed = printable(&json);
        assert!(!printed.contains('\u{9b}'));
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&printed).unwrap()["a"],
            "x\u{9b}\u{1b}"
        );
    }
}
