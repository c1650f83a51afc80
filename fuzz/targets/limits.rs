//! Any text as a limit: what is taken is within bounds, and is read back from how it is written.

#![no_main]

use libfuzzer_sys::fuzz_target;
use postrider_common::model::limits::Limit;

fuzz_target!(|text: &str| {
    let Ok(limit) = text.parse::<Limit>() else { return };
    assert!(limit.quota >= 1);
    assert!((1..=31 * 86_400).contains(&limit.window.as_secs()));
    assert_eq!(limit.window.subsec_nanos(), 0);
    assert_eq!(limit.to_string().parse::<Limit>(), Ok(limit));
});
