use super::*;

fn modes(folder: &Path) -> Vec<(String, u32)> {
    let files = fs::read_dir(folder).unwrap().map(Result::unwrap);
    let mode = |file: &fs::DirEntry| file.metadata().unwrap().permissions().mode() & 0o777;
    let mut modes: Vec<_> =
        files.map(|file| (file.file_name().into_string().unwrap(), mode(&file))).collect();
    modes.sort();
    modes
}

fn private(names: &[&str]) -> Vec<(String, u32)> {
    names.iter().map(|name| ((*name).to_owned(), 0o600)).collect()
}

async fn open_and_write(path: &Path) -> Sqlite {
    let sqlite = Sqlite::open(path).await.unwrap();
    let sql = "CREATE TABLE IF NOT EXISTS kept (n INTEGER)";
    let write = sqlite.write(move |connection| {
        Box::pin(async move { sqlx::query(sql).execute(connection).await.map(drop) })
    });
    write.await.unwrap();
    sqlite
}

#[tokio::test]
async fn the_files_are_their_owners_alone() {
    let folder = tempfile::tempdir().unwrap();
    let _sqlite = open_and_write(&folder.path().join("a.db")).await;
    assert_eq!(modes(folder.path()), private(&["a.db", "a.db-shm", "a.db-wal"]));
}

#[tokio::test]
async fn files_that_were_made_wider_are_narrowed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let _first = open_and_write(&path).await;
    for (name, _) in modes(folder.path()) {
        fs::set_permissions(folder.path().join(name), Permissions::from_mode(0o644)).unwrap();
    }
    let _second = open_and_write(&path).await;
    assert_eq!(modes(folder.path()), private(&["a.db", "a.db-shm", "a.db-wal"]));
}

async fn run(sqlite: &Sqlite, sql: &'static str) -> Result<(), SqliteError> {
    let write = sqlite.write(move |connection| {
        Box::pin(async move { sqlx::query(sql).execute(connection).await.map(drop) })
    });
    write.await
}

async fn kept(sqlite: &Sqlite) -> Vec<i64> {
    let sql = "SELECT DISTINCT n FROM kept ORDER BY n";
    sqlx::query_scalar(sql).fetch_all(sqlite.readers()).await.unwrap()
}

/// More than fits into the pages that are there.
const MUCH: &str =
    "WITH RECURSIVE many (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM many WHERE n < 20000)
    INSERT INTO kept SELECT 2 FROM many";

#[tokio::test]
async fn writes_again_once_a_full_file_may_grow() {
    let folder = tempfile::tempdir().unwrap();
    let sqlite = open_and_write(&folder.path().join("a.db")).await;
    run(&sqlite, "INSERT INTO kept VALUES (1)").await.unwrap();
    // No more than there are.
    run(&sqlite, "PRAGMA max_page_count = 1").await.unwrap();
    let full = run(&sqlite, MUCH).await.unwrap_err().to_string();
    assert!(full.contains("full"), "{full}");
    // Many at once: the group fails, and of each alone only those that need room.
    let small = futures::future::join_all(
        (0..20)
            .map(|n| run(&sqlite, if n % 2 == 0 { MUCH } else { "INSERT INTO kept VALUES (3)" })),
    );
    let outcomes = small.await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 10, "{outcomes:?}");
    assert_eq!(kept(&sqlite).await, [1, 3], "nothing is half there");
    run(&sqlite, "PRAGMA max_page_count = 1000000").await.unwrap();
    run(&sqlite, MUCH).await.unwrap();
    assert_eq!(kept(&sqlite).await, [1, 2, 3]);
}

#[tokio::test]
async fn writes_again_after_a_transaction_that_was_left_open_or_ended() {
    let folder = tempfile::tempdir().unwrap();
    let sqlite = open_and_write(&folder.path().join("a.db")).await;
    for (broken, number) in [("ROLLBACK", 1), ("COMMIT", 2), ("COMMIT; BEGIN; SELECT nothing", 3)] {
        let write = sqlite.write(move |connection| {
            Box::pin(async move { sqlx::raw_sql(broken).execute(connection).await.map(drop) })
        });
        assert!(write.await.is_err(), "{broken}");
        let write = sqlite.write(move |connection| {
            let sql = "INSERT INTO kept VALUES (?1)";
            Box::pin(
                async move { sqlx::query(sql).bind(number).execute(connection).await.map(drop) },
            )
        });
        assert!(write.await.is_ok(), "{broken}");
    }
    assert_eq!(kept(&sqlite).await, [1, 2, 3]);
}
