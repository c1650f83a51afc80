//! docker-compose.yml and the files it gives its services, as far as they run without containers.

use std::path::{Path, PathBuf};
use std::process::Command;

use postrider_common::database::Database;
use postrider_common::database::account::Role;
use secrecy::SecretString;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::harness::services::{self, PostgresServer};

const SERVICES: [&str; 7] =
    ["api", "worker-1", "worker-2", "migrate", "rabbitmq", "redis", "postgres"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn compose() -> String {
    std::fs::read_to_string(root().join("docker-compose.yml")).unwrap()
}

/// The lines of a top-level block or of a service, without their indentation.
fn block(compose: &str, name: &str) -> Vec<String> {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let key = format!("{name}:");
    let is_head = |line: &&str| indent(line) <= 2 && line.trim_start().starts_with(&key);
    let mut lines = compose.lines().skip_while(|line| !is_head(line));
    let head = lines.next().unwrap_or_else(|| panic!("{name} is not in docker-compose.yml"));
    let inner = lines.take_while(|line| line.is_empty() || indent(line) > indent(head));
    [head].into_iter().chain(inner).map(|line| line.trim_start().to_owned()).collect()
}

/// The settings that a service has by itself and by the blocks that it is merged with.
fn merged(compose: &str, name: &str) -> Vec<String> {
    let mut lines = block(compose, name);
    for (anchor, of) in
        [("worker", "worker-1"), ("postrider", "x-postrider"), ("confined", "x-confined")]
    {
        if lines.contains(&format!("<<: *{anchor}")) {
            lines.extend(block(compose, of));
        }
    }
    lines
}

#[test]
fn every_container_is_confined() {
    let compose = compose();
    let services = block(&compose, "services");
    let named = services.iter().filter(|line| line.starts_with("image: ")).count();
    assert_eq!(named, 3, "a new service belongs into the list above");
    for service in SERVICES {
        let lines = merged(&compose, service);
        for needed in [
            "cap_drop: [ALL]",
            "security_opt: [\"no-new-privileges:true\"]",
            "read_only: true",
            "cpus: ${SERVICE_CPUS:-1}",
            "pids_limit: 1024",
        ] {
            assert!(lines.iter().any(|line| line == needed), "{service} lacks `{needed}`");
        }
        assert!(lines.iter().any(|line| line.starts_with("mem_limit: ")), "{service}");
        let user = lines.iter().find_map(|line| line.strip_prefix("user: "));
        let is_ours = lines.iter().any(|line| line == "dockerfile: deploy/Dockerfile");
        assert!(is_ours || user.is_some_and(|user| user != "root"), "{service} begins as root");
    }
    let image = std::fs::read_to_string(root().join("deploy/Dockerfile")).unwrap();
    let user = image.lines().filter_map(|line| line.strip_prefix("USER ")).next_back().unwrap();
    assert!(user.bytes().all(|byte| byte.is_ascii_digit() || byte == b':'), "{user}");
    assert!(!user.starts_with('0'), "{user}");
}

/// The script that docker-compose.yml has its Redis started by.
fn redis_script() -> String {
    let lines = block(&compose(), "redis");
    let script = lines.iter().skip_while(|line| *line != "- |").skip(1);
    let script: Vec<_> = script.take_while(|line| *line != "environment:").cloned().collect();
    // Compose writes a dollar twice.
    script.join("\n").replace("$$", "$")
}

#[tokio::test]
async fn redis_takes_its_password_from_no_command_line() {
    let password = uuid::Uuid::now_v7().simple().to_string();
    let conf = root().join("deploy/redis.conf").display().to_string();
    let with = |options: &str| {
        let script = redis_script().replace("/usr/local/etc/redis/redis.conf", &conf);
        assert!(script.contains(" - <<"), "{script}");
        script.replacen(" - <<", &format!(" {options} - <<"), 1)
    };
    let redis = services::redis_of(with, &password).await;
    let open = redis.url().replace(&format!(":{password}@"), "");
    let mut stranger = redis::Client::open(open).unwrap().get_connection().unwrap();
    let refused = redis::cmd("PING").exec(&mut stranger).unwrap_err();
    assert_eq!(refused.code(), Some("NOAUTH"), "{refused}");

    let mut connection = redis::Client::open(redis.url()).unwrap().get_connection().unwrap();
    for (setting, expected) in [
        ("appendonly", "yes"),
        ("appendfsync", "always"),
        ("maxmemory", "3221225472"),
        ("maxmemory-policy", "noeviction"),
        ("auto-aof-rewrite-min-size", "1073741824"),
    ] {
        let mut ask = redis::cmd("CONFIG");
        let (_, value): (String, String) =
            ask.arg("GET").arg(setting).query(&mut connection).unwrap();
        assert_eq!(value, expected, "{setting}");
    }
    for process in std::fs::read_dir("/proc").unwrap().flatten() {
        let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&line).contains(&password), "{:?}", process.path());
    }
}

#[tokio::test]
async fn a_new_volume_of_postgres_gives_the_service_a_role_that_is_no_superuser() {
    let server = services::postgres_alone().await;
    set_up_role(&server);
    serves_without_rights(&server).await;
}

#[tokio::test]
async fn a_volume_whose_superuser_was_postrider_keeps_its_tables_and_gives_up_its_rights() {
    let server = services::postgres_alone().await;
    // As the image makes it with POSTGRES_USER=postrider: the first superuser of all has that name.
    run(&server, "postgres", "CREATE ROLE other LOGIN SUPERUSER").await;
    run(&server, "other", "ALTER ROLE postgres RENAME TO postrider").await;
    run(&server, "postrider", "DROP ROLE other").await;
    run(&server, "postrider", "CREATE DATABASE postrider").await;
    let before = database(&server);
    before.migrate().await.unwrap();
    let account = before.ensure_account("shop", Role::Account, 1).await.unwrap();

    set_up_role(&server);
    let after = serves_without_rights(&server).await;
    assert_eq!(after.account(account.id).await.unwrap(), Some(account));
    set_up_role(&server);
    serves_without_rights(&server).await;
}

/// Runs the script as a container's shell does, with other places for the server.
fn set_up_role(server: &PostgresServer) {
    let output = Command::new(root().join("deploy/postgres/10-postrider-role.sh"))
        .env("PGHOST", "127.0.0.1")
        .env("PGPORT", server.port().to_string())
        .env("POSTGRES_PASSWORD", "of-the-superuser")
        .env("POSTRIDER_DATABASE_PASSWORD", "of-the-role")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert_eq!(said, "", "nothing for an operator to wonder about");
}

const RIGHTS: &str = "SELECT rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication
        OR rolbypassrls FROM pg_roles WHERE rolname = current_user";
const OWNS_ALL: &str = "SELECT bool_and(pg_get_userbyid(relowner) = 'postrider') FROM pg_class
        WHERE relnamespace = 'public'::regnamespace";
const ROLES: &str = "SELECT count(*) = 2 AND bool_and(rolpassword LIKE 'SCRAM-SHA-256$%')
        FROM pg_authid WHERE rolcanlogin";

/// The role `postrider` migrates, writes and reads, and may do nothing else.
async fn serves_without_rights(server: &PostgresServer) -> Database {
    let database = database(server);
    database.migrate().await.unwrap();
    database.ensure_account("ops", Role::Admin, 1).await.unwrap();
    database.ping().await.unwrap();
    let asked = async |role: &str, question: &'static str| -> bool {
        let mut connection = connect(server, role).await;
        sqlx::query_scalar(question).fetch_one(&mut connection).await.unwrap()
    };
    assert!(!asked("postrider", RIGHTS).await);
    assert!(asked("postgres", RIGHTS).await, "somebody has to");
    assert!(asked("postrider", OWNS_ALL).await);
    assert!(asked("postgres", ROLES).await, "no other may log in, and both have a password");
    database
}

fn database(server: &PostgresServer) -> Database {
    Database::new(&SecretString::from(url(server, "postrider", "postrider")), 2).unwrap()
}

async fn connect(server: &PostgresServer, role: &str) -> PgConnection {
    let name = if role == "postrider" { "postrider" } else { "postgres" };
    PgConnection::connect(&url(server, role, name)).await.unwrap()
}

async fn run(server: &PostgresServer, role: &str, sql: &str) {
    let mut connection = PgConnection::connect(&url(server, role, "postgres")).await.unwrap();
    sqlx::query(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
}

fn url(server: &PostgresServer, role: &str, name: &str) -> String {
    format!("postgres://{role}@127.0.0.1:{}/{name}", server.port())
}
