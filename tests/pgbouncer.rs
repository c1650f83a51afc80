//! The distributed form behind `PgBouncer` in transaction mode, where no two transactions may get the same connection.

use futures::future::join_all;

use crate::distributed::{Alone, id_of, phone, start};
use crate::harness::processes::{Client, Process, api_command, token};
use crate::harness::services;

const ACCOUNTS: usize = 20;
const SENDS: usize = 200;

#[tokio::test]
async fn no_send_and_no_token_suffers_from_a_transaction_pooler() {
    let mut it = start(Alone::default()).await;
    let pooler = services::pgbouncer(&it.database);
    it.settings.insert("DATABASE_URL".to_owned(), pooler.url());
    it.stop_worker().await;
    it.worker = Process::worker(it.settings.clone());
    let names: Vec<String> = (0..ACCOUNTS).map(|n| format!("shop{n}")).collect();
    let tokens: Vec<_> =
        names.iter().map(|name| token(&it.settings, &["--account", name])).collect();
    // Two that know no account yet: every first request of a token is a look into the tables.
    let mut apis = [Process::api(it.settings.clone()), Process::api(it.settings.clone())];
    let urls = [apis[0].url().await, apis[1].url().await];
    let clients: Vec<_> = urls
        .iter()
        .flat_map(|url| tokens.iter().map(|token| Client::new(url.clone(), token.clone())))
        .collect();
    let sends = (0..SENDS).map(|n| {
        let client = &clients[n % clients.len()];
        async move {
            let page = client.get("/v1/messages").await;
            assert_eq!(page.0, 200, "{}", page.1);
            client.send_code(&phone(n)).await
        }
    });
    let mut accepted = Vec::new();
    for (status, body) in join_all(sends).await {
        assert_eq!(status, 202, "{body}");
        accepted.push(id_of(&body));
    }
    let rows = it.rows_of(&accepted).await;
    assert!(rows.iter().all(|(_, status)| *status == 1), "{rows:?}");
    assert!(!it.worker.output().contains("rows go to sms.rows"), "{}", it.worker.output());
    let (status, ready) = clients[0].get("/readyz").await;
    assert_eq!((status, ready["database"].as_str()), (200, Some("up")), "{ready}");
}

#[tokio::test]
async fn migrate_says_that_it_needs_the_server_itself() {
    let it = start(Alone::default()).await;
    let pooler = services::pgbouncer(&it.database);
    let mut settings = it.settings.clone();
    settings.insert("DATABASE_URL".to_owned(), pooler.url());
    // Also where another client left its connection to the server behind.
    for _ in 0..2 {
        let output = api_command(&settings).arg("migrate").output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains("PgBouncer"), "{said}");
    }
}
