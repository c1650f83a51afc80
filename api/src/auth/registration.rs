//! New accounts: what can be a user name, an e-mail address, a password; and who may make one.

use std::net::IpAddr;

use postrider_common::accept::Acceptor;
use postrider_common::config::Registration;
use postrider_common::database::account::Account;
use postrider_common::database::credentials::{NewAccount as Row, Registered};
use secrecy::{ExposeSecret as _, SecretString};

use crate::auth::login_limits::Try;
use crate::auth::passwords;
use crate::http::body::Fields;
use crate::http::clock::unix_ms;
use crate::http::problem::{Code, FieldError, Problem};
use crate::server::state::{App, AppState};

/// What a user name is, for messages.
pub(crate) const USERNAME_RULE: &str = "1 to 64 letters, digits or any of _.@-";
/// In characters.
const LONGEST_USERNAME: usize = 64;
/// In bytes: RFC 5321, section 4.5.3.1, less the brackets.
const LONGEST_EMAIL: usize = 254;
/// In bytes.
const LONGEST_QUESTION: usize = 256;

/// What somebody typed to register.
#[derive(Debug, Default)]
pub struct Typed {
    pub username: String,
    pub password: SecretString,
    pub email: String,
    pub security_question: String,
    pub security_answer: SecretString,
}

/// An account that may be made, if nobody has its name or its address.
#[derive(Debug)]
pub struct NewAccount {
    username: String,
    password: SecretString,
    email: String,
    security_question: String,
    security_answer: SecretString,
}

impl NewAccount {
    /// Reads what was typed: a user name of 1 to 64 letters (Latin, Chinese, Japanese, Korean), digits and `_.@-`; an
    /// e-mail address; a password of 8 characters to 256 bytes; a question and an answer of up to 256 bytes. White space
    /// at the ends of all but the password doesn't count. `fields_invalid` names every field that is wrong.
    pub fn read(typed: Typed) -> Result<Self, Problem> {
        let (new, errors) = Self::look_at(typed);
        if errors.is_empty() {
            Ok(new)
        } else {
            Err(Problem::new(Code::FieldsInvalid).errors(&errors))
        }
    }

    /// As [`NewAccount::read`], of a body that may have other wrong fields too, all of which are named.
    pub fn read_with(typed: Typed, mut fields: Fields) -> Result<Self, Problem> {
        let (new, errors) = Self::look_at(typed);
        for FieldError { field, code, detail } in errors {
            if !fields.has_errors(&field) {
                fields.note(&field, code, detail);
            }
        }
        fields.done().map(|()| new)
    }

    fn look_at(typed: Typed) -> (Self, Vec<FieldError>) {
        let trimmed = |text: &str| text.trim().to_owned();
        let new = Self {
            username: trimmed(&typed.username),
            email: trimmed(&typed.email).to_lowercase(),
            security_question: trimmed(&typed.security_question),
            security_answer: passwords::answer(typed.security_answer.expose_secret()),
            password: typed.password,
        };
        let errors = new.errors();
        (new, errors)
    }

    fn errors(&self) -> Vec<FieldError> {
        let short = |text: &str| (1..=LONGEST_QUESTION).contains(&text.len());
        let question =
            short(&self.security_question) && !self.security_question.contains(char::is_control);
        let password = passwords::problem(&self.password);
        let wrong = [
            (!is_username(&self.username))
                .then(|| ("username", "format", format!("is {USERNAME_RULE}"))),
            password.map(|problem| ("password", "length", problem)),
            (!is_email(&self.email))
                .then(|| ("email", "format", "is an e-mail address".to_owned())),
            (!question).then(|| ("security_question", "length", "has 1 to 256 bytes".to_owned())),
            (!short(self.security_answer.expose_secret()))
                .then(|| ("security_answer", "length", "has 1 to 256 bytes".to_owned())),
        ];
        let error = |(field, code, detail): (&str, _, _)| FieldError {
            field: field.to_owned(),
            code,
            detail,
        };
        wrong.into_iter().flatten().map(error).collect()
    }
}

/// Whether anybody may register.
pub fn is_open(app: &App) -> bool {
    app.settings.accounts.registration == Some(Registration::Open)
}

/// Registers an account, whichever wire format asks; every try counts for the address. Refuses with
/// `registration_closed`, `ip_limited`, `username_taken`, `email_taken`.
pub async fn register(
    app: &AppState,
    new: NewAccount,
    ip: Option<IpAddr>,
) -> Result<Account, Problem> {
    let made = register_who_may(app, new, ip).await;
    made.inspect_err(|problem| app.refusals.note_registration(problem, ip))
}

async fn register_who_may(
    app: &AppState,
    new: NewAccount,
    ip: Option<IpAddr>,
) -> Result<Account, Problem> {
    if !is_open(app) {
        return Err(Problem::new(Code::RegistrationClosed));
    }
    Try::registration(app, ip).await?;
    create(app, new).await
}

/// Makes an account for whoever may. Embedded, as long as nothing is carried, it may send at once; else only when an
/// admin says so: a stranger's SMS would cost the operator's money.
pub async fn create(app: &AppState, new: NewAccount) -> Result<Account, Problem> {
    let row = Row {
        username: new.username,
        email: new.email,
        password_hash: app.passwords.hash(new.password).await?,
        security_question: new.security_question,
        security_answer_hash: app.passwords.hash(new.security_answer).await?,
        may_send: matches!(app.acceptor, Acceptor::Embedded { .. })
            && app.settings.carries_nothing(),
        create_time: unix_ms(),
    };
    match app.database.register(&row).await? {
        Registered::Made(account) => {
            tracing::info!(account.id = account.id, "an account was made");
            Ok(account)
        }
        Registered::UsernameTaken => Err(Problem::new(Code::UsernameTaken)),
        Registered::EmailTaken => Err(Problem::new(Code::EmailTaken)),
    }
}

/// Returns whether a text can be a user name: see [`USERNAME_RULE`].
pub(crate) fn is_username(text: &str) -> bool {
    (1..=LONGEST_USERNAME).contains(&text.chars().count())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_.@-".contains(c) || is_cjk(c))
}

/// A letter of Chinese, Japanese or Korean: Han, kana, Hangul syllables.
fn is_cjk(c: char) -> bool {
    let block = matches!(c,
        '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{ac00}'..='\u{d7a3}'
        | '\u{20000}'..='\u{3134f}');
    c.is_alphabetic() && block
}

/// The shape alone: whether mail arrives there only sending it tells.
fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && c != '@';
    let label =
        |label: &str| !label.is_empty() && label.chars().all(|c| c.is_alphanumeric() || c == '-');
    text.len() <= LONGEST_EMAIL
        && (1..=64).contains(&local.len())
        && local.chars().all(plain)
        && domain.contains('.')
        && domain.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_names_are_letters_digits_and_four_signs() {
        for name in
            ["a", "shop", "Shop-1_2.3@x", "商店", "しょうてん", "상점", "𠮷野家", &"a".repeat(64)]
        {
            assert!(is_username(name), "{name}");
        }
        let long = "a".repeat(65);
        for name in [
            "",
            "a b",
            "a\0",
            "shóp",
            "a\u{200b}",
            "a\u{202e}",
            "a/b",
            "<a>",
            "❤",
            "か\u{3099}",
            &long,
        ] {
            assert!(!is_username(name), "{name:?}");
        }
    }

    #[test]
    fn e_mail_addresses_have_their_shape() {
        for email in ["a@b.cn", "first.last+tag@mail.example.com", "商店@例子.中国", "a@b-c.d"]
        {
            assert!(is_email(email), "{email}");
        }
        let long = format!("a@{}.cn", "b".repeat(252));
        for email in [
            "", "a", "a@", "@b.cn", "a@b", "a b@c.cn", "a@b@c.cn", "a@b..cn", "a@.cn", "a@b.cn.",
            "a\0@b.cn", &long,
        ] {
            assert!(!is_email(email), "{email:?}");
        }
    }

    #[test]
    fn every_wrong_field_is_named_and_no_secret_is_told() {
        let refused = NewAccount::read(Typed { password: "short".into(), ..Typed::default() });
        let body = refused.unwrap_err().body("id");
        let named: Vec<_> = body["errors"]
            .as_array()
            .unwrap()
            .iter()
            .map(|e| e["field"].as_str().unwrap())
            .collect();
        assert_eq!(
            named,
            ["username", "password", "email", "security_question", "security_answer"]
        );
        assert!(!body.to_string().contains("short\""));
        let typed = Typed {
            username: " shop ".to_owned(),
            password: "  with spaces  ".into(),
            email: " Shop@Example.COM ".to_owned(),
            security_question: " pet? ".to_owned(),
            security_answer: " Rex ".into(),
        };
        let new = NewAccount::read(typed).unwrap();
        assert_eq!((new.username.as_str(), new.email.as_str()), ("shop", "shop@example.com"));
        assert_eq!(new.password.expose_secret(), "  with spaces  ");
        assert_eq!(
            (new.security_question.as_str(), new.security_answer.expose_secret()),
            ("pet?", "rex")
        );
        assert!(!format!("{new:?}").contains("with spaces"));
    }
}
