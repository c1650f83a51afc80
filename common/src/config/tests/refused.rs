//! Errors and warnings that an operator reads: the place, the key, the values that there are.

use super::*;

const ALIYUN: &str =
    "[providers.main]\nkind = \"aliyun\"\naccess_key_id = \"a\"\naccess_key_secret = \"b\"\n";
const SPUG: &str = "[providers.push]\nkind = \"spug\"\ntoken = \"t\"\n";

fn path(setup: &Setup) -> String {
    setup.environment["POSTRIDER_CONFIG"].clone()
}

/// The refusal of a file, without the file's path, with which it begins.
fn refusal(file: &str) -> String {
    let setup = with_file(file);
    let refusal = setup.refused();
    let rest = refusal.strip_prefix(&format!("{}: ", path(&setup)));
    rest.unwrap_or_else(|| panic!("{file:?} gave {refusal:?}")).to_owned()
}

fn distributed(file: &str) -> Setup {
    let setup = with_file(file).set("POSTRIDER_SECRET", SECRET);
    URLS.into_iter().fold(setup, |setup, (name, url)| setup.set(name, url))
}

#[test]
fn error_names_the_file_the_key_and_the_allowed_values() {
    let cases = [
        ("[server]\nport = 1", "server.port", "`listen`, `trusted_proxies`"),
        ("[serverr]", "serverr", "`server`, `metrics`"),
        ("[server]\nlisten = \"8080\"", "server.listen", "127.0.0.1:8080"),
        ("[metrics]\nlisten = \"9090\"", "metrics.listen", "127.0.0.1:8080"),
        ("[server]\ntrusted_proxies = [\"10.\"]", "server.trusted_proxies", "10.0.0.0/8"),
        ("[server]\ncountries = [\"China\"]", "server.countries", "two-letter"),
        ("[server]\ndefault_region = \"China\"", "server.default_region", "two-letter"),
        ("[log]\nformat = \"xml\"", "log.format", "`json` or `text`"),
        ("[log]\nfilter = \"infoo\"", "log.filter", "error, warn, info, debug, trace"),
        ("[accounts]\nregistration = \"maybe\"", "accounts.registration", "`open` or `closed`"),
        ("[accounts]\nsession_ttl = \"32d\"", "accounts.session_ttl", "1s to 31d"),
        ("[code]\nttl = \"soon\"", "code.ttl", "`10s`"),
        ("[code]\nttl = \"11m\"", "code.ttl", "1s to 10m"),
        ("[code]\nlength = \"x\"", "code.length", "a whole number"),
        ("[code]\nlength = -1", "code.length", "a whole number"),
        ("[templates.verify]\ntext = \"no code here\"", "templates.verify.text", "{code}"),
        ("[server]\nrequest_timeout = \"0s\"", "server.request_timeout", "at least 1ms"),
        ("[code]\nlength = 3", "code.length", "4 to 9"),
        ("[code]\nmax_sends = 0", "code.max_sends", "at least 1"),
        ("[code]\ntemplate = \"none\"", "code.template", "[templates.none]"),
        ("code = 5", "code", "a section"),
        ("[limits.code]\nphone = [\"often\"]", "limits.code.phone", "5/1h"),
        ("[worker]\nlanes = [\"fast\"]", "worker.lanes", "`code` or `notice`"),
        ("[worker]\nlanes = []", "worker.lanes", "code, notice"),
        ("[dialects]\nenabled = [\"soap\"]", "dialects.enabled", "`mall`, `flask`, `platform`"),
        ("[retry]\nfactor = 0.5", "retry.factor", "at least 1.0"),
        ("[retry]\nmax_attempts = 0", "retry.max_attempts", "at least 1"),
        ("[providers.main]\norder = 1", "providers.main.kind", "`aliyun`, `spug` or `sandbox`"),
        (
            "[providers.main]\nkind = \"pigeon\"",
            "providers.main.kind",
            "`aliyun`, `spug`, `sandbox`",
        ),
        (
            "[providers.main]\nkind = \"aliyun\"",
            "providers.main.access_key_id",
            "ALIBABA_CLOUD_ACCESS_KEY_ID",
        ),
        ("[server]\nheader_timeout = \"0s\"", "server.header_timeout", "greater than zero"),
        ("[bans]\nsafe_networks = [\"x\"]", "bans.safe_networks", "10.0.0.0/8"),
        ("[bans]\nsafe_phones = [\"138\"]", "bans.safe_phones", "+8613800138000"),
        ("[jwt]\njwks_file = \"keys.json\"", "jwt.issuer", "go together"),
    ];
    for (file, key, allowed) in cases {
        let refusal = refusal(file);
        assert!(
            refusal.starts_with(&format!("{key}: ")) || refusal.starts_with(&format!("{key}[")),
            "{file:?} gave {refusal:?}"
        );
        assert!(refusal.contains(allowed), "{file:?} gave {refusal:?}");
    }
}

#[test]
fn error_names_the_variable_that_sets_the_key() {
    let cases = [
        ("POSTRIDER_CODE__TTL", "soon", "code.ttl", "`10s`"),
        ("POSTRIDER_CODE__LENGTH", "12", "code.length", "4 to 9"),
        ("POSTRIDER_CODE__LENGHT", "6", "code.lenght", "`length`"),
        ("POSTRIDER_LIMITS__CODE__PHONE", "x", "limits.code.phone", "5/1h"),
        ("POSTRIDER_WORKER__LANES", "fast", "worker.lanes", "`notice`"),
        ("POSTRIDER_PROVIDERS__A__KIND", "x", "providers.a.kind", "`sandbox`"),
        ("POSTRIDER_LOG__FILTER", "info,lapin=loud", "log.filter", "trace"),
    ];
    for (name, value, key, allowed) in cases {
        let refusal = with_file("[code]\nmax_attempts = 3").set(name, value).refused();
        assert!(refusal.starts_with(&format!("{name}: {key}: ")), "{name}={value}: {refusal:?}");
        assert!(refusal.contains(allowed), "{name}={value} gave {refusal:?}");
    }
    for (name, value, allowed) in [
        ("POSTRIDER_LISTEN", "nowhere", "127.0.0.1:8080"),
        ("POSTRIDER_SANDBOX", "yes", "1, 0"),
        ("POSTRIDER_LISTENN", "127.0.0.1:1", "POSTRIDER_SECTION__KEY"),
        ("POSTRIDER_CONFIG", "/nowhere/postrider.toml", "/nowhere/postrider.toml"),
        ("POSTRIDER_SECRET", "short", "32 bytes"),
    ] {
        let refusal = with_file("").set(name, value).refused();
        assert!(refusal.starts_with(&format!("{name}: ")), "{name}={value} gave {refusal:?}");
        assert!(refusal.contains(allowed), "{name}={value} gave {refusal:?}");
    }
    for (name, value, allowed) in [
        ("AMQP_URL", "http://x", "amqp:// or amqps://"),
        ("REDIS_URL", "localhost", "redis:// or rediss://"),
        ("DATABASE_URL", "sqlite://x", "postgres://"),
        ("AMQP_URL", "amqp://localhost/%2f?frame_max=zz", "known parameters"),
        ("AMQP_URL", "amqp://localhost/a/b?heartbeat=x", "one virtual host"),
        ("REDIS_URL", "redis://localhost/abc", "NUMBER"),
        ("DATABASE_URL", "postgres://localhost/sms?sslmode=zzz", "sslmode=verify-full"),
        ("DATABASE_URL", "mysql://localhost/sms?ssl-mode=zzz", "ssl-mode=VERIFY_IDENTITY"),
    ] {
        let refusal = distributed("").set("POSTRIDER_SANDBOX", "1").set(name, value).refused();
        assert!(refusal.starts_with(&format!("{name}: ")), "{name}={value} gave {refusal:?}");
        assert!(refusal.contains(allowed), "{name}={value} gave {refusal:?}");
    }
}

#[test]
fn syntax_error_shows_no_credential() {
    let refusal = refusal("[providers.main]\naccess_key_secret = \"hush-hush\nkind = \"aliyun\"");
    assert!(refusal.contains("line 2") && refusal.contains("TOML"), "{refusal}");
    assert!(!refusal.contains("hush"), "{refusal}");
}

#[test]
fn no_provider_names_the_file_and_the_sandbox_and_stops_no_command() {
    let setup = distributed("");
    let refusal = setup.refused();
    assert!(refusal.starts_with(&path(&setup)), "{refusal}");
    assert!(refusal.contains("no provider is configured"), "{refusal}");
    assert!(refusal.contains("POSTRIDER_SANDBOX"), "{refusal}");
    assert!(load_for_command(&setup.environment).is_ok());

    let sandbox = distributed("[providers.box]\nkind = \"sandbox\"");
    assert!(sandbox.refused().contains("POSTRIDER_SANDBOX=1"));
    assert!(load_for_command(&sandbox.environment).is_ok());
    assert!(load_for_command(&distributed("[code]\nlength = 3").environment).is_err());
}

#[test]
fn aliyun_alone_needs_the_template_code_of_every_template() {
    assert!(refusal(ALIYUN).starts_with("templates.verify.aliyun: "));
    let with_code = format!("{ALIYUN}[templates.verify]\naliyun = \"SMS_1\"\n");
    with_file(&with_code).load().unwrap();
    let notice = format!("{with_code}[templates.parcel]\ntext = \"x\"");
    assert!(refusal(&notice).starts_with("templates.parcel.aliyun: "));
    let unsigned = format!("{notice}\naliyun = \"SMS_2\"");
    assert!(refusal(&unsigned).starts_with("templates.parcel.sign: "));
    let of_a_purpose = format!(
        "{with_code}[purposes.pay]\ntemplate = \"pay\"\n[templates.pay]\ntext = \"{{code}}\""
    );
    assert!(refusal(&of_a_purpose).starts_with("templates.pay.aliyun: "));
    let empty = format!("{ALIYUN}[templates.verify]\naliyun = \"\"");
    assert!(refusal(&empty).starts_with("templates.verify.aliyun: "));

    // The built-in template isn't in use then.
    let own = format!(
        "{ALIYUN}[code]\ntemplate = \"own\"\n[templates.own]\ntext = \"{{code}}\"\nsign = \"x\"\naliyun = \"SMS_1\""
    );
    with_file(&own).load().unwrap();
    // Another provider takes what this one can't.
    with_file(&format!("{ALIYUN}{SPUG}")).load().unwrap();
}

#[test]
fn unknown_names_in_fields_are_refused() {
    let fields = |fields: &str| {
        format!("{SPUG}fields = {{ {fields} }}\n[templates.parcel]\ntext = \"{{sign}} {{number}}\"")
    };
    for known in ["code = \"key1\", phone = \"to\"", "number = \"key2\""] {
        with_file(&fields(known)).load().unwrap();
    }
    for (given, named) in [
        ("phone_number = \"to\"", "phone_number"),
        ("sign = \"key1\"", "sign"),
        ("minutes = \"key1\"", "minutes"),
        ("code = \"\"", "code"),
        ("code = \"targets\"", "code"),
        ("number = \"code\"", "number"),
    ] {
        let refusal = refusal(&fields(given));
        assert!(refusal.starts_with(&format!("providers.push.fields.{named}: ")), "{refusal}");
    }
    assert!(refusal(&fields("phon = \"to\"")).contains("`code`, `number`, `phone`"));
    let aliyun =
        format!("{ALIYUN}fields = {{ code = \"c\" }}\n[templates.verify]\naliyun = \"SMS_1\"");
    assert!(refusal(&aliyun).starts_with("providers.main.fields.code: "));
}

#[test]
fn one_newline_after_a_credential_is_cut_and_other_white_space_refused() {
    let variable = "POSTRIDER_PROVIDERS__PUSH__TOKEN";
    let file = "[providers.push]\nkind = \"spug\"";
    let token = |value: &str| {
        let config = with_file(file).set(variable, value).load()?;
        let token = config.settings.providers["push"].token.clone().unwrap();
        Ok::<_, ConfigError>(token.expose_secret().to_owned())
    };
    for value in ["abc", "abc\n", "abc\r\n"] {
        assert_eq!(token(value).unwrap(), "abc");
    }
    for value in [" abc", "abc ", "abc\n\n", "\tabc", "\nabc", "abc \n"] {
        let refusal = token(value).unwrap_err().to_string();
        assert!(refusal.starts_with(&format!("{variable}: providers.push.token: ")), "{refusal}");
        assert!(!refusal.contains("abc"), "{refusal}");
    }
    let template = "[templates.verify]\naliyun = \"SMS_1\"";
    for key in ["access_key_id", "access_key_secret", "security_token"] {
        let given = format!("{ALIYUN}security_token = \"c\"\n{template}");
        let spoiled = given.replace(&format!("{key} = \""), &format!("{key} = \" "));
        assert!(refusal(&spoiled).starts_with(&format!("providers.main.{key}: ")), "{key}");
    }
    let name = "ALIBABA_CLOUD_ACCESS_KEY_SECRET";
    let aliyun = format!("[providers.main]\nkind = \"aliyun\"\naccess_key_id = \"a\"\n{template}");
    let spoiled = with_file(&aliyun).set(name, "key ").refused();
    assert!(spoiled.starts_with(&format!("{name}: ")), "{spoiled}");
    let cut = with_file(&aliyun).set(name, "key\n").load().unwrap();
    let secret = cut.settings.providers["main"].access_key_secret.clone().unwrap();
    assert_eq!(secret.expose_secret(), "key");
    let url = distributed("").set("POSTRIDER_SANDBOX", "1").set("REDIS_URL", "redis://:pass@x \n");
    assert!(url.refused().starts_with("REDIS_URL: "));
}

#[test]
fn filter_of_logs_names_known_levels() {
    for filter in [
        "info",
        "INFO",
        "",
        "off",
        "3",
        "info,postrider_worker=debug",
        "warn,[span{a=1}]=debug",
        "postrider_api=trace,error",
    ] {
        let setup = with_file("").set("POSTRIDER_LOG__FILTER", filter);
        assert!(setup.load().is_ok(), "{filter}: {:?}", setup.load().err().map(|e| e.to_string()));
    }
    for filter in [
        "infoo",
        "info,debgu",
        "info,postrider_worker=debgu",
        "info, debug",
        "postrider_worker",
        "infoo=info",
        "postrider_apii=debug",
        "=",
        "info,[",
        "[span]",
    ] {
        let refusal = with_file("").set("POSTRIDER_LOG__FILTER", filter).refused();
        assert!(refusal.starts_with("POSTRIDER_LOG__FILTER: log.filter: "), "{filter}: {refusal}");
    }
}

#[test]
fn what_should_not_stay_so_is_warned_of() {
    let warnings = |setup: &Setup| setup.load().unwrap().warnings;
    assert_eq!(warnings(&with_file("")), Vec::<String>::new());
    for all in ["0.0.0.0/0", "::/0"] {
        let setup = with_file(&format!("[server]\ntrusted_proxies = [\"10.0.0.0/8\", \"{all}\"]"));
        let warned = warnings(&setup);
        assert!(
            warned.len() == 1 && warned[0].starts_with("server.trusted_proxies: "),
            "{warned:?}"
        );
    }
    assert_eq!(warnings(&with_file("[code]\necho = true")).len(), 0, "the sandbox carries nothing");
    let echo = with_file("[code]\necho = true")
        .set("POSTRIDER_PROVIDERS__PUSH__KIND", "spug")
        .set("POSTRIDER_PROVIDERS__PUSH__TOKEN", "t");
    let warned = warnings(&echo);
    assert!(warned.len() == 1 && warned[0].starts_with("code.echo: "), "{warned:?}");
}

#[test]
fn secret_that_others_can_read_is_warned_of() {
    let read_by = |path: &Path, mode: u32| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let setup = with_file(SPUG);
    let (file, kept) = (PathBuf::from(path(&setup)), setup.dir.path().join("data/secret"));
    read_by(&file, 0o600);
    assert_eq!(setup.load().unwrap().warnings, Vec::<String>::new());
    for secret in [&file, &kept] {
        for mode in [0o640, 0o604] {
            read_by(secret, mode);
            let warned = setup.load().unwrap().warnings;
            let named = format!("{}: holds a secret", secret.display());
            assert!(warned.len() == 1 && warned[0].starts_with(&named), "{warned:?}");
        }
        read_by(secret, 0o600);
    }
    let without = with_file("# token = \"t\"\n[code]\nlength = 6");
    read_by(Path::new(&path(&without)), 0o644);
    assert_eq!(without.load().unwrap().warnings, Vec::<String>::new());
}
