//! Texts cut to their columns before they are written: one overlong answer must not fail a batch.

/// The width, in characters, of the columns that hold a provider's or an operator's words.
pub(super) const WORDS: usize = 1024;

/// The beginning of a text, at most `most` bytes of it (so no more characters either), without the NUL
/// that PostgreSQL takes in no text.
pub(super) fn cut(text: &str, most: usize) -> String {
    text[..text.floor_char_boundary(most)].replace('\0', "\u{1a}")
}

/// The same of what may be missing.
pub(super) fn cut_option(text: Option<&str>, most: usize) -> Option<String> {
    text.map(|text| cut(text, most))
}

/// The beginning of a text, at most `most` characters of it.
pub(super) fn cut_characters(text: &str, most: usize) -> String {
    let end = text.char_indices().nth(most).map_or(text.len(), |(at, _)| at);
    cut(text, end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(cut("验证码", 7), "验证");
        assert_eq!(cut("short", 1024), "short");
        assert_eq!(cut("", 0), "");
        assert_eq!(cut_characters("验证码", 2), "验证");
        assert_eq!(cut_characters("验证码", 3), "验证码");
    }

    #[test]
    fn no_text_holds_a_nul() {
        assert_eq!(cut("a\0b", 1024), "a\u{1a}b");
    }
}
