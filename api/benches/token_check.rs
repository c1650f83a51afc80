//! What every request costs in this crate: the check of its token.
#![expect(clippy::expect_used, reason = "what is measured is made of constants")]

use std::hint::black_box;
use std::time::{SystemTime, UNIX_EPOCH};

use criterion::{Criterion, criterion_group, criterion_main};
use postrider_api::auth::token::{Grant, issue, verify};
use postrider_common::secrets::KeyRing;

fn token_check(criterion: &mut Criterion) {
    let keys: KeyRing =
        "a-secret-of-the-bench-of-more-than-32-bytes".parse().expect("a long secret");
    #[expect(clippy::disallowed_methods, reason = "a token is checked by the wall clock")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    let now = i64::try_from(now.as_millis()).expect("a time of today");
    let token = issue(&keys, 7, &Grant::USUAL, now, 3_600_000).expect("a token");
    criterion.bench_function("token checked", |b| b.iter(|| verify(&keys, black_box(&token), now)));
}

criterion_group!(benches, token_check);
criterion_main!(benches);
