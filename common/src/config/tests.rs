//! Loading, overriding and refusing; and that the example file is complete and tells the defaults.

mod refused;

use std::fmt;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use secrecy::ExposeSecret;
use serde::de::{Deserialize, Deserializer, Visitor};

use super::*;

const SECRET: &str = "a-master-secret-of-more-than-32-bytes";
const URLS: [(&str, &str); 3] = [
    ("AMQP_URL", "amqp://user:pass@localhost"),
    ("REDIS_URL", "redis://localhost"),
    ("DATABASE_URL", "postgres://user:pass@localhost/sms"),
];

struct Setup {
    dir: tempfile::TempDir,
    environment: Environment,
}

/// An embedded set-up with this file.
fn with_file(text: &str) -> Setup {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("postrider.toml");
    std::fs::write(&file, text).unwrap();
    let environment = [
        ("POSTRIDER_CONFIG", file.to_str().unwrap()),
        ("POSTRIDER_DATA_DIR", dir.path().join("data").to_str().unwrap()),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    Setup { dir, environment }
}

impl Setup {
    fn set(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    fn load(&self) -> Result<Config, ConfigError> {
        load(&self.environment)
    }

    fn refused(&self) -> String {
        self.load().expect_err("this configuration is refused").to_string()
    }
}

fn example() -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../postrider.example.toml");
    std::fs::read_to_string(path).unwrap()
}

/// The example with what is commented out for want of a default taken in.
fn whole_example() -> String {
    let is_setting = |line: &str| {
        line.starts_with("# [providers.")
            || line.starts_with("# [templates.")
            || line.strip_prefix("# ").is_some_and(|rest| {
                rest.split_once(" = ").is_some_and(|(name, _)| !name.contains(' '))
            })
    };
    example()
        .lines()
        .map(|line| if is_setting(line) { line.trim_start_matches("# ") } else { line })
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn the_example_tells_the_defaults() {
    let (example, nothing) = (with_file(&example()), with_file(""));
    assert_eq!(
        format!("{:#?}", example.load().unwrap().settings),
        format!("{:#?}", nothing.load().unwrap().settings),
    );
}

#[test]
fn the_example_holds_every_key() {
    let table: toml_table::Table = toml_table::parse(&whole_example());
    let sections: [(&str, &[&str]); 27] = [
        ("", fields_of::<Settings>()),
        ("server", fields_of::<Server>()),
        ("metrics", fields_of::<Metrics>()),
        ("log", fields_of::<Log>()),
        ("phone", fields_of::<Phone>()),
        ("jwt", fields_of::<Jwt>()),
        ("accounts", fields_of::<Accounts>()),
        ("accounts.login_limits", fields_of::<LoginLimits>()),
        ("code", fields_of::<CodeRules>()),
        ("notices", fields_of::<Notices>()),
        ("purposes.login", fields_of::<Purpose>()),
        ("purposes.login.limits", fields_of::<ScopeOverrides>()),
        ("purposes.login.check_limits", fields_of::<ScopeOverrides>()),
        ("limits", fields_of::<Limits>()),
        ("limits.code", fields_of::<ScopeLimits>()),
        ("limits.notice", fields_of::<ScopeLimits>()),
        ("limits.check", fields_of::<ScopeLimits>()),
        ("dialects", fields_of::<Dialects>()),
        ("dialects.mall", fields_of::<Mall>()),
        ("dialects.flask", fields_of::<Flask>()),
        ("dialects.platform", fields_of::<Platform>()),
        ("queue", fields_of::<Queue>()),
        ("retry", fields_of::<Retry>()),
        ("worker", fields_of::<Worker>()),
        ("database", fields_of::<Database>()),
        ("providers", fields_of::<Provider>()),
        ("templates.order_shipped", fields_of::<Template>()),
    ];
    for (section, fields) in sections {
        for field in fields {
            assert!(table.has(section, field), "[{section}] {field} is not in the example");
        }
    }
    // And everything in it is a setting: unknown keys are refused.
    with_file(&whole_example()).set("POSTRIDER_SECRET", SECRET).load().unwrap();
}

#[test]
fn nothing_said_is_the_embedded_trial() {
    let setup = with_file("");
    let config = setup.load().unwrap();
    assert!(config.trial);
    assert!(matches!(config.backends, Backends::Embedded { .. }));
    assert!(config.settings.has_sandbox());
    assert!(config.settings.code_rules("login").is_some());
    assert!(config.settings.code_rules("unheard_of").is_none());

    let kept = setup.dir.path().join("data/secret");
    assert_eq!((mode(&kept), mode(kept.parent().unwrap())), (0o600, 0o700));
    let again = setup.load().unwrap();
    assert_eq!(again.keys.current().id, config.keys.current().id, "the secret is made once");
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

#[test]
fn a_data_directory_that_the_operator_made_is_left_alone() {
    let setup = with_file("");
    let data = setup.dir.path().join("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o750)).unwrap();
    setup.load().unwrap();
    assert_eq!(mode(&data), 0o750);
}

#[test]
fn all_three_services_or_none() {
    for (missing, url) in URLS {
        let mut setup = with_file("").set("POSTRIDER_SECRET", SECRET).set("POSTRIDER_SANDBOX", "1");
        for (name, url) in URLS.into_iter().filter(|(name, _)| *name != missing) {
            setup = setup.set(name, url);
        }
        let refusal = setup.refused();
        assert!(refusal.contains(missing), "{refusal}");
        let config = setup.set(missing, url).load().unwrap();
        assert!(matches!(config.backends, Backends::Distributed { .. }) && !config.trial);
    }
}

#[test]
fn distributed_takes_a_secret_and_a_provider() {
    let mut setup = with_file("");
    for (name, url) in URLS {
        setup = setup.set(name, url);
    }
    assert!(setup.refused().contains("providers"));
    let setup = setup.set("POSTRIDER_SANDBOX", "1");
    assert!(setup.refused().contains("POSTRIDER_SECRET"));
    let setup = setup.set("POSTRIDER_SECRET", "too-short");
    assert!(setup.refused().contains("32 bytes"));
    setup.set("POSTRIDER_SECRET", SECRET).load().unwrap();

    let mut sandbox =
        with_file("[providers.box]\nkind = \"sandbox\"").set("POSTRIDER_SECRET", SECRET);
    for (name, url) in URLS {
        sandbox = sandbox.set(name, url);
    }
    assert!(sandbox.refused().contains("POSTRIDER_SANDBOX"));
}

#[test]
fn registration_is_open_only_where_embedded_unless_it_is_said() {
    let registration = |setup: Setup| setup.load().unwrap().settings.accounts.registration;
    assert_eq!(registration(with_file("")), Some(Registration::Open));
    let closed = with_file("[accounts]\nregistration = \"closed\"");
    assert_eq!(registration(closed), Some(Registration::Closed));
    let distributed = |file| {
        let setup = with_file(file).set("POSTRIDER_SECRET", SECRET).set("POSTRIDER_SANDBOX", "1");
        registration(URLS.into_iter().fold(setup, |setup, (name, url)| setup.set(name, url)))
    };
    assert_eq!(distributed(""), Some(Registration::Closed));
    assert_eq!(distributed("[accounts]\nregistration = \"open\""), Some(Registration::Open));
}

#[test]
fn the_environment_overrides_the_file() {
    let config = with_file("[code]\nttl = \"60s\"\nlength = 8\n[limits.code]\nphone = [\"2/60s\"]")
        .set("POSTRIDER_CODE__TTL", "90s")
        .set("POSTRIDER_LIMITS__CODE__IP", "1/1s, 5/1h")
        .set("POSTRIDER_WORKER__LANES", "notice")
        .set("POSTRIDER_PURPOSES__LOGIN__LENGTH", "4")
        .set("POSTRIDER_PROVIDERS__PUSH__KIND", "spug")
        .set("POSTRIDER_PROVIDERS__PUSH__TOKEN", "12345678")
        .set("POSTRIDER_LISTEN", "127.0.0.1:0")
        .load()
        .unwrap();
    let settings = config.settings;
    assert_eq!((settings.code.ttl.as_secs(), settings.code.length), (90, 8));
    assert_eq!(settings.limits.code.phone[0].quota, 2);
    assert_eq!(settings.limits.code.ip.len(), 2);
    assert_eq!(
        settings.limits.code.phone_all.len(),
        1,
        "a scope that isn't named keeps its default"
    );
    assert_eq!(settings.worker.lanes, [crate::model::job::Lane::Notice]);
    assert_eq!(settings.code_rules("login").unwrap().length, 4);
    assert_eq!(settings.server.listen.port(), 0);
    let token = settings.providers["push"].token.as_ref().unwrap();
    assert_eq!(token.expose_secret(), "12345678", "digits stay text");
    assert!(!format!("{settings:?}").contains("12345678"));
}

#[test]
fn a_purpose_overrides_codes_and_limits() {
    let settings = with_file(
        "[code]\nany_purpose = true\n[purposes.pay]\nttl = \"60s\"\nlimits = { phone = [\"3/1h\"], ip = [] }\ncheck_limits = { phone = [\"4/1h\"] }",
    )
    .load()
    .unwrap()
    .settings;
    assert_eq!(settings.code_rules("pay").unwrap().ttl.as_secs(), 60);
    assert_eq!(settings.code_rules("other").unwrap().ttl.as_secs(), 180);
    let (pay, other) = (settings.check_limits("pay"), settings.check_limits("other"));
    assert_eq!((pay.phone[0].quota, other.phone[0].quota), (4, 10));
    assert_eq!(pay.ip, other.ip);
    let (pay, other) = (settings.code_limits("pay"), settings.code_limits("other"));
    assert_eq!((pay.phone[0].quota, pay.ip.len(), pay.global.len()), (3, 0, 1));
    assert_eq!((other.phone[0].quota, other.ip.len()), (1, 1));
}

#[test]
fn notices_have_limits_of_a_phone_unless_others_are_set() {
    let shown = |limits: &super::ScopeLimits| -> Vec<_> {
        limits.in_order().iter().map(|(s, l)| format!("{} {l}", s.policy())).collect()
    };
    let settings = with_file("[limits.notice]\nip = [\"9/1h\"]").load().unwrap().settings;
    let limits = settings.notice_limits("");
    assert_eq!(shown(&limits), ["phone 5/3600s", "phone 20/86400s", "ip 9/3600s"]);
    assert_eq!(shown(&settings.notice_limits("flask/login")), ["ip 9/3600s"]);
    let settings = with_file("[limits.notice]\nphone = []").load().unwrap().settings;
    assert!(settings.notice_limits("").is_empty());
}

#[test]
fn finds_templates_of_codes_by_name_and_by_code_at_the_provider() {
    let file = "[purposes.pay]\ntemplate = \"payment\"\n[templates]\nverify = { aliyun = \"SMS_1\" }\n\
        payment = { text = \"{code}\" }\nalias = { aliyun = \"sms_1\" }\nparcel = { text = \"x\", aliyun = \"SMS_2\" }";
    let settings = with_file(file).load().unwrap().settings;
    for template in ["verify", "payment", "alias", "SMS_1", "sms_1", " SMS_1 "] {
        assert!(settings.is_template_of_codes(template), "{template}");
    }
    for template in ["parcel", "SMS_2", "SMS_3", "none", ""] {
        assert!(!settings.is_template_of_codes(template), "{template}");
    }
}

#[test]
fn what_cannot_work_is_named() {
    let cases = [
        ("[server]\nport = 1", "port"),
        ("[serverr]", "serverr"),
        ("[phone]\nalso_valid = [\"149\"]", "`149`"),
        ("[code]\nttl = \"11m\"", "code.ttl"),
        ("[code]\nttl = \"soon\"", "`soon`"),
        ("[code]\nlength = 3", "code.length"),
        ("[code]\ntemplate = \"none\"", "templates.none"),
        ("[purposes.\"Log In\"]", "purposes.Log In"),
        ("[purposes.login]\nlength = 12", "purposes.login.length"),
        ("[limits.code]\nphone = [\"often\"]", "`often`"),
        ("[accounts]\nregistration = \"maybe\"", "maybe"),
        ("[accounts]\nsession_ttl = \"32d\"", "accounts.session_ttl"),
        ("[accounts]\ncurrency = \"yuan\"", "accounts.currency"),
        ("[accounts.login_limits]\nip = [\"often\"]", "`often`"),
        ("[templates.parcel]\nsign = \"Shop\"", "templates.parcel.text"),
        ("[templates.verify.limits]\nphone = [\"1/1h\"]", "templates.verify.limits"),
        ("[templates.verify]\ntext = \"{name}\"", "templates.verify"),
        ("[templates.verify]\ntext = \"{code\"", "templates.verify"),
        ("[retry]\njitter = 1.5", "jitter"),
        ("[retry]\nfactor = 0.5", "factor"),
        ("[worker]\nlanes = []", "worker.lanes"),
        ("[worker]\nnotices_beside_codes = 0", "worker.notices_beside_codes"),
        (
            "[worker]\nnotice_concurrency = 1000\nnotices_beside_codes = 2",
            "worker.notices_beside_codes",
        ),
        ("[worker]\nlanes = [\"fast\"]", "fast"),
        ("[server]\nheader_timeout = \"0s\"", "server.header_timeout"),
        ("[server]\nmax_connections = 0", "server.max_connections"),
        ("[server]\ndefault_region = \"China\"", "China"),
        ("[providers.main]\nkind = \"aliyun\"", "providers.main.access_key_id"),
        ("[providers.main]\nkind = \"pigeon\"", "pigeon"),
        ("[providers.push]\nkind = \"spug\"", "providers.push.token"),
        (
            "[providers.main]\nkind = \"aliyun\"\naccess_key_id = \"a\"\naccess_key_secret = \"b\"\nforeign_prefix = \"86\"",
            "providers.main.foreign_prefix",
        ),
        (
            "[providers.push]\nkind = \"spug\"\ntoken = \"t\"\nforeign_prefix = \"00\"",
            "providers.push.foreign_prefix",
        ),
        ("[providers.push]\nkind = \"spug\"\ntoken = \"t\"\nendpoint = \"ftp://x\"", "endpoint"),
        (
            "[providers.push]\nkind = \"spug\"\ntoken = \"t\"\n[purposes.pay]\nttl = \"14s\"",
            "providers.push.connect_timeout",
        ),
        (
            "[providers.push]\nkind = \"spug\"\ntoken = \"t\"\n[notices]\nttl = \"9s\"",
            "providers.push.connect_timeout",
        ),
        ("[jwt]\njwks_file = \"keys.json\"", "jwt.issuer"),
        ("[jwt]\nissuer = \"us\"\naudience = \"us\"", "jwt.jwks_file"),
        ("[jwt]\njwks_file = \"keys.json\"\nissuer = \"us\"\naudience = \"\"", "jwt.audience"),
        ("[jwt]\naccount_claim = \"\"", "jwt.account_claim"),
        ("[jwt]\ntypes = []", "jwt.types"),
        ("[dialects]\nenabled = [\"soap\"]", "soap"),
        ("[dialects.flask]\nttl = \"11m\"", "dialects.flask.ttl"),
        ("[dialects.flask]\nlength = 3", "dialects.flask.length"),
        ("[dialects.mall.anonymous]\naccount = \"shop\"\nfrom = []", "mall.anonymous.from"),
        (
            "[dialects.mall]\nanonymous = { account = \"shop\", from = [\"10.\"] }",
            "mall.anonymous.from",
        ),
        ("no toml", "not valid TOML"),
    ];
    for (file, named) in cases {
        let refusal = with_file(file).refused();
        assert!(refusal.contains(named), "{file:?} gave {refusal:?}");
    }
    for (variable, value, named) in [
        ("POSTRIDER_LISTENN", "127.0.0.1:1", "POSTRIDER_LISTENN"),
        ("POSTRIDER_CODE__LENGHT", "6", "lenght"),
        ("POSTRIDER_LISTEN", "nowhere", "POSTRIDER_LISTEN"),
        ("POSTRIDER_SANDBOX", "yes", "POSTRIDER_SANDBOX"),
        ("POSTRIDER_CONFIG", "/nowhere/postrider.toml", "/nowhere/postrider.toml"),
    ] {
        let refusal = with_file("").set(variable, value).refused();
        assert!(refusal.contains(named), "{variable}={value} gave {refusal:?}");
    }
}

#[test]
fn credentials_come_from_the_environment_where_the_file_has_none() {
    let file = "templates.verify.aliyun = \"SMS_1\"\n[providers.main]\nkind = \"aliyun\"";
    let provider = |setup: Setup| setup.load().unwrap().settings.providers["main"].clone();
    let given = provider(
        with_file(file)
            .set("ALIBABA_CLOUD_ACCESS_KEY_ID", "id")
            .set("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "key")
            .set("ALIBABA_CLOUD_SECURITY_TOKEN", "sts"),
    );
    assert_eq!(given.access_key_id.unwrap().expose_secret(), "id");
    assert_eq!(given.security_token.unwrap().expose_secret(), "sts");
    let own = provider(
        with_file(&format!("{file}\naccess_key_id = \"mine\"\naccess_key_secret = \"mine\""))
            .set("ALIBABA_CLOUD_ACCESS_KEY_ID", "id")
            .set("ALIBABA_CLOUD_SECURITY_TOKEN", "sts"),
    );
    assert_eq!(own.access_key_id.unwrap().expose_secret(), "mine");
    assert!(own.security_token.is_none(), "another key's session token is not used");
}

#[test]
fn the_flask_dialect_has_rules_and_windows_of_its_own() {
    let settings = with_file("[code]\nmax_attempts = 3").load().unwrap().settings;
    let rules = settings.code_rules("flask/any text").unwrap();
    assert_eq!((rules.length, rules.ttl.as_secs(), rules.max_attempts), (4, 300, 3));
    assert_eq!(rules.remembered().as_secs(), 86_400);
    assert_eq!(settings.code_rules("mall/any text").unwrap().length, 6);
    assert!(settings.code_rules("other/any text").is_none());
    let windows: Vec<_> = settings
        .code_limits("flask/any text")
        .in_order()
        .iter()
        .map(|(s, l)| format!("{} {l}", s.policy()))
        .collect();
    assert_eq!(
        windows,
        [
            "phone-purpose 1/60s",
            "phone 5/3600s",
            "phone-purpose 5/3600s",
            "phone 10/86400s",
            "phone-purpose 10/86400s",
            "phone-all 30/86400s",
            "ip 20/60s",
            "global 1000/60s",
        ]
    );
}

#[test]
fn accounts_recharge_themselves_where_embedded_alone() {
    let recharge = |setup: Setup| setup.load().unwrap().settings.dialects.platform.self_recharge;
    assert_eq!(recharge(with_file("")), Some(true));
    assert_eq!(recharge(with_file("[dialects.platform]\nself_recharge = false")), Some(false));
    let mut setup = with_file("").set("POSTRIDER_SECRET", SECRET).set("POSTRIDER_SANDBOX", "1");
    for (name, url) in URLS {
        setup = setup.set(name, url);
    }
    assert_eq!(recharge(setup), Some(false));
}

#[test]
fn limits_come_in_the_order_of_refusals() {
    use crate::model::limits::Scope;
    let settings = with_file(
        "[limits.code]\nphone = [\"10/1d\", \"1/60s\"]\nphone_purpose = [\"5/1h\"]\nip = [\"1/1s\"]\naccount = [\"9/1s\"]",
    )
    .load()
    .unwrap()
    .settings;
    let order: Vec<_> =
        settings.limits.code.in_order().into_iter().map(|(s, l)| (s, l.quota)).collect();
    assert_eq!(
        order,
        [
            (Scope::Phone, 1),
            (Scope::PhonePurpose, 5),
            (Scope::Phone, 10),
            (Scope::PhoneAll, 30),
            (Scope::Ip, 1),
            (Scope::Account, 9),
            (Scope::Global, 1000),
        ]
    );
}

/// The names of a struct's fields, as its `Deserialize` asks for them.
fn fields_of<T: for<'de> Deserialize<'de>>() -> &'static [&'static str] {
    #[derive(Debug, thiserror::Error)]
    #[error("not needed")]
    struct Stop;
    impl serde::de::Error for Stop {
        fn custom<M: fmt::Display>(_: M) -> Self {
            Self
        }
    }
    struct Listen<'a>(&'a mut &'static [&'static str]);
    impl<'de> Deserializer<'de> for Listen<'_> {
        type Error = Stop;
        fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Stop> {
            Err(Stop)
        }
        fn deserialize_struct<V: Visitor<'de>>(
            self,
            _: &'static str,
            fields: &'static [&'static str],
            _: V,
        ) -> Result<V::Value, Stop> {
            *self.0 = fields;
            Err(Stop)
        }
        serde::forward_to_deserialize_any! {
            bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
            unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
        }
    }
    let mut fields: &'static [&'static str] = &[];
    assert!(T::deserialize(Listen(&mut fields)).is_err() && !fields.is_empty());
    fields
}

/// The example as a tree of keys.
mod toml_table {
    use config::{Config, File, FileFormat, Value, ValueKind};

    pub(super) struct Table(Value);

    pub(super) fn parse(text: &str) -> Table {
        let config =
            Config::builder().add_source(File::from_str(text, FileFormat::Toml)).build().unwrap();
        Table(config.cache)
    }

    impl Table {
        /// Whether `section` has `field`; of the providers, whether any has.
        pub(super) fn has(&self, section: &str, field: &str) -> bool {
            let mut place = &self.0;
            for name in section.split('.').filter(|name| !name.is_empty()) {
                let ValueKind::Table(members) = &place.kind else { return false };
                let Some(member) = members.get(name) else { return false };
                place = member;
            }
            let ValueKind::Table(members) = &place.kind else { return false };
            let in_one = |value: &Value| match &value.kind {
                ValueKind::Table(inner) => inner.contains_key(field),
                _ => false,
            };
            members.contains_key(field) || (section == "providers" && members.values().any(in_one))
        }
    }
}

#[test]
fn what_strangers_may_do_depends_on_what_it_costs() {
    let aliyun = "[providers.main]\nkind = \"aliyun\"\naccess_key_id = \"a\"\naccess_key_secret = \"b\"\n[templates.verify]\naliyun = \"SMS_1\"";
    let settings = with_file(aliyun).load().unwrap().settings;
    assert!(!settings.carries_nothing());
    assert_eq!(settings.dialects.platform.self_recharge, Some(false));
    let settings = with_file("").load().unwrap().settings;
    assert!(settings.carries_nothing());
    assert_eq!(settings.dialects.platform.self_recharge, Some(true));

    let jwt = "[jwt]\njwks_file = \"a\"\nissuer = \"b\"\naudience = \"c\"";
    let settings = with_file(jwt).load().unwrap().settings;
    assert_eq!(settings.accounts.registration, Some(Registration::Closed));
    let open = with_file(&format!("{jwt}\n[accounts]\nregistration = \"open\"")).load();
    assert!(open.unwrap_err().to_string().contains("accounts.registration"));
}

#[test]
fn of_the_template_of_codes_what_is_not_said_is_built_in() {
    let setup = with_file("").set("POSTRIDER_TEMPLATES__VERIFY__ALIYUN", "SMS_1");
    let verify = setup.load().unwrap().settings.templates["verify"].clone();
    assert!(verify.text.contains("{code}"), "{}", verify.text);
    assert_eq!((verify.sign.as_str(), verify.aliyun.as_deref()), ("Postrider", Some("SMS_1")));
}
