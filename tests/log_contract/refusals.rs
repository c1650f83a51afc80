//! Refusals are kept apart by account, and a large batch is written whole.

use postrider_common::database::Database;
use postrider_common::database::refusal::Refusal;
use postrider_common::model::owner::Owner;

pub(super) async fn refusals_are_read_newest_first_by_account(database: Database) {
    let refusal = |owner: Option<Owner>, create_time: i64| Refusal {
        owner,
        kind: "code".to_owned(),
        rule: "phone_limited".to_owned(),
        policy: Some("phone-60s".to_owned()),
        phone_number: Some("+86138****8000".to_owned()),
        purpose: Some("登录".to_owned()),
        template_code: None,
        client_ip: Some("2001:db8::1".to_owned()),
        request_id: Some("r-1".to_owned()),
        times: 1,
        create_time,
    };
    let live = Some(Owner::new(7, false));
    let test = Some(Owner::new(7, true));
    let mut batch: Vec<_> = (0..2500).map(|at| refusal(live, at)).collect();
    batch.push(refusal(test, 3000));
    batch.push(refusal(None, 3001));
    database.record_refusals(&batch).await.unwrap();
    database.record_refusals(&[]).await.unwrap();

    assert_eq!(database.refusals(Some(7), 10_000).await.unwrap().len(), 2501);
    let newest = database.refusals(Some(7), 2).await.unwrap();
    assert_eq!(newest, [refusal(test, 3000), refusal(live, 2499)]);
    assert_eq!(database.refusals(None, 10).await.unwrap(), [refusal(None, 3001)]);
    assert_eq!(database.refusals(Some(8), 10).await.unwrap(), []);
}
