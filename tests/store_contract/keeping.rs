//! How long a message's record is kept while its row isn't committed.

use sqlx::Connection as _;

use super::*;

const DAY_AND_HOUR: i64 = 25 * 3_600_000;

#[tokio::test]
async fn redis_keeps_a_record_for_25_hours_beyond_the_deadline() {
    let held = redis().await;
    let message =
        accepted(held.store.admit(&admit("+8613800000001", BEGIN, Vec::new())).await.unwrap());
    let url = held.redis.as_ref().unwrap().url();
    let mut connection =
        ::redis::Client::open(url).unwrap().get_multiplexed_async_connection().await.unwrap();
    let key = format!("msg:{}", message.message_id);
    let left: i64 = ::redis::cmd("PTTL").arg(&key).query_async(&mut connection).await.unwrap();
    let expected = message.deadline - BEGIN + DAY_AND_HOUR;
    assert!((expected - 60_000..=expected).contains(&left), "{left} of {expected}");

    held.store.claim(&claim(message.message_id, 1, "a", BEGIN)).await.unwrap();
    held.store.resolve(&resolve(message.message_id, 1, "r", BEGIN + 7)).await.unwrap();
    // Its time is over before the record's is.
    let claim = format!("claim:{}", message.message_id);
    let _: i64 = ::redis::cmd("DEL").arg(claim).query_async(&mut connection).await.unwrap();
    let state = held.store.message(message.message_id).await.unwrap().unwrap();
    assert_eq!((state.status, state.updated_at), (MessageStatus::Failed, BEGIN + 7));
    held.store.archive(&[message.message_id]).await.unwrap();
    assert_eq!(held.store.message(message.message_id).await.unwrap(), None);
}

#[tokio::test]
async fn sqlite_keeps_a_record_for_25_hours_beyond_the_deadline() {
    let held = sqlite().await;
    let message =
        accepted(held.store.admit(&admit("+8613800000001", BEGIN, Vec::new())).await.unwrap());
    let path = held.folder.as_ref().unwrap().path().join("test.db");
    let mut connection =
        sqlx::SqliteConnection::connect(&format!("sqlite://{}", path.display())).await.unwrap();
    let kept: i64 = sqlx::query_scalar("SELECT keep_until FROM store_message")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(kept, message.deadline + DAY_AND_HOUR);
    held.store.archive(&[message.message_id]).await.unwrap();
    assert_eq!(held.store.message(message.message_id).await.unwrap(), None);
}
