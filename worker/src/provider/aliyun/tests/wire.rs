//! Calls over a real socket, to a vendor that checks each signature against the bytes that came.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::join_all;
use hmac::{Hmac, KeyInit as _, Mac as _};
use postrider_common::config::Template;
use postrider_common::model::ids::MessageId;
use postrider_common::model::owner::Owner;
use sha2::{Digest as _, Sha256};
use time::macros::format_description;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::super::*;

const SECRET: &str = "the-secret";

/// A vendor whose clock is so far ahead of ours.
#[derive(Debug, Clone)]
struct Vendor {
    ahead: time::Duration,
    /// Before each answer.
    delay: Duration,
    /// Whether it says what its clock shows.
    dated: bool,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Vendor {
    fn ahead(ahead: time::Duration) -> Self {
        Self { ahead, delay: Duration::ZERO, dated: true, heads: Arc::default() }
    }

    async fn start(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let vendor = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(vendor.clone().serve(stream));
            }
        });
        url
    }

    async fn serve(self, mut stream: TcpStream) {
        let mut received = Vec::new();
        while stream.read_buf(&mut received).await.is_ok_and(|count| count > 0) {
            // No request has a body.
            if !received.ends_with(b"\r\n\r\n") {
                continue;
            }
            let head = String::from_utf8(std::mem::take(&mut received)).unwrap();
            self.heads.lock().unwrap().push(head.clone());
            tokio::time::sleep(self.delay).await;
            if stream.write_all(self.answer(&head).as_bytes()).await.is_err() {
                return;
            }
        }
    }

    #[expect(clippy::disallowed_methods, reason = "the signature is dated by the wall clock")]
    fn answer(&self, head: &str) -> String {
        let now = OffsetDateTime::from(std::time::SystemTime::now()) + self.ahead;
        let date = time::PrimitiveDateTime::parse(
            &headers(head, "x-acs-date")[0],
            format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z"),
        );
        let (status, code) = if signature(head) != signed(head).1 {
            (400, "SignatureDoesNotMatch")
        } else if (date.unwrap().assume_utc() - now).abs() > time::Duration::minutes(15) {
            (400, "InvalidTimeStamp.Expired")
        } else {
            (200, "OK")
        };
        let body = format!(r#"{{"Code":"{code}","Message":"m","BizId":"9006^0"}}"#);
        let http_date = format_description!(
            "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
        );
        let date = if self.dated {
            format!("date: {}\r\n", now.format(http_date).unwrap())
        } else {
            String::new()
        };
        format!("HTTP/1.1 {status} x\r\n{date}content-length: {}\r\n\r\n{body}", body.len())
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

/// The values of a header, one for each line that it has.
fn headers(head: &str, name: &str) -> Vec<String> {
    head.lines()
        .skip(1)
        .filter_map(|line| line.split_once(':'))
        .filter(|(found, _)| found.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim().to_owned())
        .collect()
}

/// The names of the signed headers, and the signature.
fn signed(head: &str) -> (Vec<String>, String) {
    let authorization = headers(head, "authorization").remove(0);
    let (_, rest) = authorization.split_once("SignedHeaders=").unwrap();
    let (names, signature) = rest.split_once(",Signature=").unwrap();
    (names.split(';').map(str::to_owned).collect(), signature.to_owned())
}

/// The signature of what came, as the vendor's documents compute it.
fn signature(head: &str) -> String {
    let line: Vec<&str> = head.lines().next().unwrap().split(' ').collect();
    let (path, query) = line[1].split_once('?').unwrap();
    let mut pairs: Vec<&str> = query.split('&').collect();
    pairs.sort_unstable();
    let (mut names, _) = signed(head);
    names.sort_unstable();
    let lines = names.iter().map(|name| format!("{name}:{}\n", headers(head, name).join(",")));
    let canonical = format!(
        "{}\n{path}\n{}\n{}\n{}\n{}",
        line[0],
        pairs.join("&"),
        lines.collect::<String>(),
        names.join(";"),
        hex::encode(Sha256::digest(b"")),
    );
    let text = format!("ACS3-HMAC-SHA256\n{}", hex::encode(Sha256::digest(canonical)));
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(text.as_bytes());
    hex::encode(mac.finalize().into_bytes())
}

fn aliyun(url: &str, change: impl FnOnce(&mut config::Provider)) -> Aliyun {
    let mut settings = config::Provider::sandbox();
    settings.endpoint = Some(url.to_owned());
    settings.access_key_id = Some("id".into());
    settings.access_key_secret = Some(SECRET.into());
    change(&mut settings);
    Aliyun::new(&settings).unwrap()
}

fn sms() -> Sms {
    let params = [("name", "a b*~{\"码\"}&="), ("code", "123456")];
    Sms {
        message_id: MessageId::generate(),
        owner: Owner::new(1, false),
        phone: PhoneNumber::from_e164("+8613800138000").unwrap(),
        text: String::new(),
        template: Template {
            sign: "阿里云 测试".to_owned(),
            aliyun: Some("SMS_1".to_owned()),
            ..Template::default()
        },
        params: params.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        code: None,
    }
}

fn far() -> Instant {
    Instant::now() + Duration::from_mins(1)
}

async fn outcome(aliyun: &Aliyun) -> Outcome {
    let answer = aliyun.send(&sms(), far()).await;
    println!("{answer:?}");
    answer.outcome
}

#[tokio::test]
async fn every_signed_header_is_sent_once_and_as_it_was_signed() {
    let vendor = Vendor::ahead(time::Duration::ZERO);
    let url = vendor.start().await;
    let plain = aliyun(&url, |_| {});
    let temporary = aliyun(&url, |settings| settings.security_token = Some("sts".into()));
    assert_eq!(outcome(&plain).await, Outcome::Accepted);
    assert_eq!(outcome(&temporary).await, Outcome::Accepted);
    let heads = vendor.heads();
    let usual = [
        "accept",
        "content-length",
        "host",
        "x-acs-action",
        "x-acs-content-sha256",
        "x-acs-date",
        "x-acs-signature-nonce",
        "x-acs-version",
    ];
    assert_eq!(signed(&heads[0]).0, usual);
    assert!(signed(&heads[1]).0.contains(&"x-acs-security-token".to_owned()));
    for head in heads {
        for name in signed(&head).0 {
            assert_eq!(headers(&head, &name).len(), 1, "{name}: {head}");
        }
        assert_eq!(headers(&head, "accept"), ["application/json"]);
        assert_eq!(headers(&head, "content-length"), ["0"]);
    }
}

/// Everything that is logged in this process.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<u8>>>);

impl Logged {
    /// The clock offsets that were warned of, in seconds.
    fn offsets(&self) -> Vec<i64> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        let offset = |line: &str| line.rsplit_once("offset_seconds=")?.1.trim().parse().ok();
        text.lines().filter(|line| line.contains("WARN")).filter_map(offset).collect()
    }
}

impl Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn wrong_clock_is_corrected_within_the_same_attempt_and_warned_of_once() {
    let logged = Logged::default();
    let writer = logged.clone();
    tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).init();
    // No other test's clock is so far off.
    for hours in [5, -5] {
        let vendor = Vendor::ahead(time::Duration::hours(hours));
        let aliyun = aliyun(&vendor.start().await, |_| {});
        let together = join_all((0..4).map(|_| outcome(&aliyun))).await;
        assert_eq!(together, [Outcome::Accepted; 4]);
        let heads = vendor.heads();
        assert_eq!(heads.len(), 8, "each is signed twice");
        let mut nonces: Vec<_> =
            heads.iter().flat_map(|head| headers(head, "x-acs-signature-nonce")).collect();
        nonces.sort_unstable();
        nonces.dedup();
        assert_eq!(nonces.len(), 8);
        assert_eq!(outcome(&aliyun).await, Outcome::Accepted);
        assert_eq!(vendor.heads().len(), 9, "later calls know the time");
        let offsets = logged.offsets();
        let warned = offsets.iter().filter(|offset| (*offset - hours * 3600).abs() < 60).count();
        assert_eq!(warned, 1, "{offsets:?}");
    }
}

#[tokio::test]
async fn second_signature_is_not_sent_when_it_could_come_too_late() {
    let vendor = Vendor::ahead(time::Duration::hours(1));
    let url = vendor.start().await;
    let late = aliyun(&url, |_| {});
    let answer = late.send(&sms(), Instant::now()).await;
    assert_eq!((answer.outcome, vendor.heads().len()), (Outcome::RefusedHere, 1));
    assert_eq!(outcome(&late).await, Outcome::Accepted, "the next attempt knows the time");
    assert_eq!(vendor.heads().len(), 2);

    let slow =
        Vendor { delay: Duration::from_millis(500), ..Vendor::ahead(time::Duration::hours(1)) };
    let aliyun = aliyun(&slow.start().await, |settings| {
        settings.connect_timeout = Duration::from_secs(1);
        settings.read_timeout = Duration::from_millis(200);
    });
    assert_eq!(outcome(&aliyun).await, Outcome::RefusedHere);
    assert_eq!(slow.heads().len(), 1, "a call is never longer than its longest time");
}

#[tokio::test]
async fn clock_that_cannot_be_corrected_is_about_our_account() {
    let vendor = Vendor { dated: false, ..Vendor::ahead(time::Duration::hours(1)) };
    let aliyun = aliyun(&vendor.start().await, |_| {});
    let answer = aliyun.send(&sms(), far()).await;
    let found = (answer.outcome, answer.scope);
    assert_eq!(found, (Outcome::RefusedHere, postrider_common::model::job::AnswerScope::Provider));
    assert_eq!(vendor.heads().len(), 1);
}

#[tokio::test]
async fn foreign_number_that_reads_as_a_mainland_one_is_not_sent() {
    let vendor = Vendor::ahead(time::Duration::ZERO);
    let url = vendor.start().await;
    let foreign = Sms { phone: PhoneNumber::from_e164("+13105552671").unwrap(), ..sms() };
    let answer = aliyun(&url, |_| {}).send(&foreign, far()).await;
    let found = (answer.outcome, answer.scope, vendor.heads().len());
    assert_eq!(
        found,
        (Outcome::RefusedHere, postrider_common::model::job::AnswerScope::Message, 0)
    );

    let prefixed = aliyun(&url, |settings| settings.foreign_prefix = Some("00".to_owned()));
    let answer = prefixed.send(&foreign, far()).await;
    assert_eq!(answer.outcome, Outcome::Accepted);
    assert!(vendor.heads()[0].contains("PhoneNumbers=0013105552671&"), "{:?}", vendor.heads());
}
