//! Each service, started and asked; those of a test's own also killed, started again, stopped and continued.

use std::time::Duration;

use lapin::{Connection, ConnectionProperties};
use redis::AsyncTypedCommands as _;
use sqlx::Connection as _;

use crate::harness::services::{self, MariaDb, PostgresDb, PostgresServer, RabbitNode, Redis};

/// Far less than what a stopped service is stopped for, far more than an answer takes.
const SOON: Duration = Duration::from_secs(2);

async fn amqp_answers(url: &str) -> bool {
    let connecting = Connection::connect(url, ConnectionProperties::default());
    tokio::time::timeout(SOON, connecting).await.is_ok_and(|connected| connected.is_ok())
}

#[tokio::test]
async fn each_test_has_a_virtual_host_of_its_own() {
    let (one, other) = (services::rabbitmq().await, services::rabbitmq().await);
    assert_ne!(one.url(), other.url());
    assert!(amqp_answers(&one.url()).await && amqp_answers(&other.url()).await);
}

#[tokio::test]
async fn a_rabbitmq_node_is_killed_started_stopped_and_continued() {
    let mut node: RabbitNode = services::rabbitmq_alone().await;
    assert!(amqp_answers(&node.url()).await);
    node.kill();
    assert!(!amqp_answers(&node.url()).await);
    node.start();
    assert!(amqp_answers(&node.url()).await);
    node.pause();
    assert!(!amqp_answers(&node.url()).await);
    node.resume();
    assert!(amqp_answers(&node.url()).await);
}

async fn connect(url: String) -> redis::RedisResult<redis::aio::MultiplexedConnection> {
    redis::Client::open(url)?.get_multiplexed_async_connection().await
}

#[tokio::test]
async fn redis_keeps_its_keys_over_a_kill_and_none_when_emptied() {
    let mut redis: Redis = services::redis().await;
    connect(redis.url()).await.unwrap().set("key", "value").await.unwrap();
    redis.kill();
    assert!(connect(redis.url()).await.is_err());
    redis.start();
    let mut connection = connect(redis.url()).await.unwrap();
    assert_eq!(connection.get("key").await.unwrap().as_deref(), Some("value"));
    redis.pause();
    let answer = tokio::time::timeout(SOON, connection.ping()).await;
    assert!(!answer.is_ok_and(|answer| answer.is_ok()), "it answered while it was stopped");
    redis.resume();
    redis.empty().await;
    assert_eq!(connect(redis.url()).await.unwrap().get("key").await.unwrap(), None);
}

const TABLE: &str = "CREATE TABLE itself (id int)";

#[tokio::test]
async fn each_test_has_a_database_of_its_own() {
    for _ in 0..2 {
        let postgres: PostgresDb = services::postgres().await;
        let mariadb: MariaDb = services::mariadb().await;
        let mut connection = sqlx::PgConnection::connect(postgres.url()).await.unwrap();
        sqlx::query(TABLE).execute(&mut connection).await.unwrap();
        let mut connection = sqlx::MySqlConnection::connect(mariadb.url()).await.unwrap();
        sqlx::query(TABLE).execute(&mut connection).await.unwrap();
    }
}

#[tokio::test]
async fn postgresql_keeps_its_tables_over_a_kill() {
    let mut server: PostgresServer = services::postgres_alone().await;
    let mut connection = sqlx::PgConnection::connect(&server.url()).await.unwrap();
    sqlx::query(TABLE).execute(&mut connection).await.unwrap();
    server.kill();
    assert!(sqlx::PgConnection::connect(&server.url()).await.is_err());
    server.start();
    let mut connection = sqlx::PgConnection::connect(&server.url()).await.unwrap();
    sqlx::query("SELECT id FROM itself").execute(&mut connection).await.unwrap();
}
