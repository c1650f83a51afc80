//! Any bytes as a job from the queue, and as its contents: read, refused, and never opened unless we sealed them.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use postrider_common::model::ids::MessageId;
use postrider_common::model::job::{Contents, Job, WIRE_NAME};
use postrider_common::model::phone::PhoneNumber;
use postrider_common::secrets::{KeyRing, SealedFor};

static KEYS: LazyLock<KeyRing> =
    LazyLock::new(|| "a-secret-of-the-tests-of-more-than-32-bytes".parse().unwrap());

fuzz_target!(|bytes: &[u8]| {
    decode(bytes);
    open(bytes);
    damage(bytes);
});

/// What was taken for a job says the same when it is written again.
fn decode(bytes: &[u8]) {
    let Ok(job) = Job::decode(bytes) else { return };
    assert_eq!(job.v, WIRE_NAME);
    assert_eq!(Job::decode(&job.encode()).unwrap(), job);
    let _owner = job.owner();
    assert!(job.attempts_made() as usize >= job.attempts.len());
    assert!(Contents::open(&KEYS, job.message_id, &job.sealed).is_err(), "nobody sealed it");
}

/// The same bytes as what an older process of ours may have sealed.
fn open(bytes: &[u8]) {
    let id = MessageId::derived(&[7; 32]);
    let sealed = KEYS.seal(SealedFor::Queue, bytes, id.as_bytes());
    let Ok(contents) = Contents::open(&KEYS, id, &sealed) else { return };
    let phone = contents.phone.as_e164();
    assert_eq!(PhoneNumber::from_e164(phone), Ok(contents.phone.clone()));
    assert!(!format!("{contents:?}").contains(phone));
    let again = contents.seal(&KEYS, id);
    assert!(Contents::open(&KEYS, id, &again).unwrap() == contents);
}

/// One byte of a right seal is replaced, or some put in, at a place that the first two bytes say.
fn damage(bytes: &[u8]) {
    let [high, low, put @ ..] = bytes else { return };
    let id = MessageId::derived(&[7; 32]);
    let contents = br#"{"phone":"+8613800138000","params":{"a":"b"}}"#;
    let sealed = KEYS.seal(SealedFor::Queue, contents, id.as_bytes());
    let at = usize::from(u16::from_be_bytes([*high, *low])) % sealed.len();
    let taken = usize::from(put.len() == 1);
    let mut damaged = sealed.clone().into_bytes();
    damaged.splice(at..at + taken, put.iter().copied());
    if let Ok(damaged) = String::from_utf8(damaged)
        && damaged != sealed
    {
        assert!(Contents::open(&KEYS, id, &damaged).is_err(), "{damaged}");
    }
}
