//! Any text as a template: it is filled or refused, and what fills a place is not looked at again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use postrider_common::model::template::{Params, TemplateError, places, render};

fuzz_target!(|text: &str| {
    let Ok(names) = places(text) else {
        assert!(render(text, &Params::new()).is_err());
        return;
    };
    // Values that would be places themselves.
    let value = |name: &str| format!("{{{name}}}{{");
    let params: Params = names.iter().map(|name| ((*name).to_owned(), value(name))).collect();
    let (mut filled, mut rest) = (String::new(), text);
    for name in &names {
        let place = format!("{{{name}}}");
        let (before, after) = rest.split_once(&place).unwrap();
        filled.extend([before, &value(name)]);
        rest = after;
    }
    filled.push_str(rest);
    assert_eq!(render(text, &params), Ok(filled));
    let missing = names.first().map(|name| TemplateError::Missing((*name).to_owned()));
    assert_eq!(render(text, &Params::new()).err(), missing);
});
