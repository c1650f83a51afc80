//! Calls that brought no answer: whether they surely did not reach the provider, and why.

use std::error::Error;
use std::io;

use postrider_common::model::job::Outcome;

use super::Answer;

/// `EMFILE` and `ENFILE`: the process, or the system, has no descriptor left.
const NO_DESCRIPTOR: [i32; 2] = [24, 23];

/// The meaning of an error. A call that got no connection did not reach the provider; of any other nobody knows.
pub(super) fn classify(error: &reqwest::Error) -> Answer {
    if error.is_connect() {
        return unreachable(error);
    }
    if error.is_timeout() {
        return Answer::of(Outcome::Unknown, "timeout")
            .with_message("the provider did not answer in time");
    }
    Answer::of(Outcome::Unknown, "broken_answer").with_message("the provider's answer broke off")
}

fn unreachable(error: &reqwest::Error) -> Answer {
    // Not the error itself: its words include the URL, and with it a credential.
    let chain: Vec<_> = causes(error).collect();
    let lacks_descriptor = chain.iter().any(|cause| is_no_descriptor(*cause));
    // The resolver and the TLS library open files too, and don't say why they couldn't.
    if lacks_descriptor || (!error.is_timeout() && no_descriptor_is_left()) {
        return Answer::of(Outcome::Unreachable, "no_descriptor").with_message(
            "this worker has no file descriptor left (ulimit -n): the provider was not called",
        );
    }
    let cause = chain.last().map(ToString::to_string).unwrap_or_default();
    let (code, step) = if error.is_dns() {
        ("dns", "the provider's name could not be resolved")
    } else if error.is_timeout() || chain.iter().any(|cause| is_of_tcp(*cause)) {
        ("connect", "no connection to the provider")
    } else {
        ("tls", "the TLS handshake with the provider failed")
    };
    let message = if error.is_timeout() {
        format!("{step} within connect_timeout")
    } else {
        format!("{step}: {cause}")
    };
    Answer::of(Outcome::Unreachable, code).about_provider().with_message(message)
}

fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(error.source(), |cause| (*cause).source())
}

fn is_no_descriptor(cause: &(dyn Error + 'static)) -> bool {
    let code = cause.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error);
    code.is_some_and(|code| NO_DESCRIPTOR.contains(&code))
}

fn no_descriptor_is_left() -> bool {
    std::fs::File::open("/dev/null").is_err_and(|error| is_no_descriptor(&error))
}

/// The connector's own errors can't be named as a type; all that are of TCP say so.
fn is_of_tcp(cause: &(dyn Error + 'static)) -> bool {
    cause.to_string().starts_with("tcp ")
}
