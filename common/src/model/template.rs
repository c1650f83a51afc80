//! The text of an SMS: a template's `{name}` places filled with parameters.

use std::collections::BTreeMap;

/// What fills a template's places, by name.
pub type Params = BTreeMap<String, String>;

/// Why a text can't be filled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    #[error("the parameter `{0}` is missing")]
    Missing(String),
    #[error("a `{{` is never closed")]
    Unclosed,
}

/// Fills every `{name}` of `text`. What a parameter's own value says is not looked at again.
pub fn render(text: &str, params: &Params) -> Result<String, TemplateError> {
    let mut filled = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').ok_or(TemplateError::Unclosed)?;
        filled.push_str(before);
        filled.push_str(params.get(name).ok_or_else(|| TemplateError::Missing(name.to_owned()))?);
        rest = after;
    }
    filled.push_str(rest);
    Ok(filled)
}

/// The names of a text's places, in order; fails where a place is never closed.
pub fn places(text: &str) -> Result<Vec<&str>, TemplateError> {
    text.split('{')
        .skip(1)
        .map(|part| part.split_once('}').map(|(name, _)| name).ok_or(TemplateError::Unclosed))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn params(pairs: &[(&str, &str)]) -> Params {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn places_are_filled_once() {
        let given = params(&[("code", "{minutes}"), ("minutes", "3")]);
        assert_eq!(
            render("您的验证码是{code}，{minutes}分钟", &given).unwrap(),
            "您的验证码是{minutes}，3分钟"
        );
        assert_eq!(places("a{x}b{y}").unwrap(), ["x", "y"]);
    }

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(render("{who}", &params(&[])), Err(TemplateError::Missing("who".to_owned())));
        assert_eq!(render("{who", &params(&[])), Err(TemplateError::Unclosed));
        assert_eq!(places("{who"), Err(TemplateError::Unclosed));
    }

    /// A text between places, and a place's name with what fills it.
    fn pieces() -> impl Strategy<Value = Vec<(String, String, String)>> {
        prop::collection::vec(("[^{]{0,8}", "[^{}]{0,4}", "\\PC{0,6}|[{}a-c]{0,6}"), 0..6)
    }

    proptest! {
        #[test]
        fn any_text_is_filled_or_refused(text in prop_oneof![any::<String>(), "[{}a-c]{0,24}"]) {
            let Ok(names) = places(&text) else { return Ok(()) };
            let empty = names.iter().map(|name| ((*name).to_owned(), String::new())).collect();
            let filled = render(&text, &empty).unwrap();
            let taken: usize = names.iter().map(|name| name.len() + 2).sum();
            prop_assert_eq!(filled.len(), text.len() - taken);
            if let Some(name) = names.first() {
                prop_assert_eq!(
                    render(&text, &Params::new()),
                    Err(TemplateError::Missing((*name).to_owned()))
                );
            }
        }

        #[test]
        fn a_value_stands_in_its_place_as_it_is(pieces in pieces(), end in "[^{]{0,8}") {
            // One value a name, the last that was given.
            let values = pieces.iter().map(|(_, name, value)| (name.clone(), value.clone()));
            let params: Params = values.collect();
            let (mut text, mut filled) = (String::new(), String::new());
            for (before, name, _) in &pieces {
                text.extend([before, "{", name, "}"]);
                filled.extend([before.as_str(), &params[name]]);
            }
            text.push_str(&end);
            filled.push_str(&end);
            prop_assert_eq!(render(&text, &params), Ok(filled));
            let names: Vec<_> = pieces.iter().map(|(_, name, _)| name.as_str()).collect();
            prop_assert_eq!(places(&text), Ok(names));
        }
    }
}
