//! The real binaries, built once, with the environment that a test gives them, and a client that talks to the API.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{LazyLock, OnceLock};

use axum::body::Bytes;
use reqwest::Url;
use reqwest::header::HeaderName;
use serde_json::{Value, json};

use super::conformance::{Conformance, Exchange};
use super::guardian::Guarded;
use super::ports::free_port;
use super::{eventually, services};

/// Environment of a process.
pub type Settings = BTreeMap<String, String>;

/// A process of ours, its log in a file.
#[derive(Debug)]
pub struct Process {
    name: &'static str,
    settings: Settings,
    arguments: &'static [&'static str],
    folder: PathBuf,
    runs: u32,
    guarded: Option<Guarded>,
    /// What its data are on, where that is a disk of its own.
    disk: Option<Disk>,
}

/// A small disk in memory that one process sees, and that ends with it.
#[derive(Debug, Clone)]
struct Disk {
    folder: PathBuf,
    megabytes: u32,
}

/// Builds the binaries, once: another package's tests don't.
fn binaries() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
        let mut build = Command::new(cargo);
        build.args(["build", "--quiet", "--bins"]).current_dir(root).stdin(Stdio::null());
        // This test binary is in PROFILE/deps.
        let profile =
            std::env::current_exe().unwrap().parent().unwrap().parent().unwrap().to_owned();
        if profile.ends_with("release") {
            build.arg("--release");
        }
        assert!(build.status().unwrap().success(), "the binaries can't be built");
        profile
    })
}

/// `settings` as a map.
pub fn settings(pairs: &[(&str, &str)]) -> Settings {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// A command of the real `postrider-api` with nothing in its environment but this.
pub fn api_command(settings: &Settings) -> Command {
    command("postrider-api", settings)
}

/// The same of the real `postrider-worker`.
#[cfg(test)]
pub fn worker_command(settings: &Settings) -> Command {
    command("postrider-worker", settings)
}

fn command(name: &str, settings: &Settings) -> Command {
    let mut command = Command::new(binaries().join(name));
    command.env_clear().env("RUST_BACKTRACE", "1").envs(settings).stdin(Stdio::null());
    command
}

impl Process {
    /// Starts `postrider-api` on a port of its own choosing.
    pub fn api(settings: Settings) -> Self {
        Self::new("postrider-api", settings)
    }

    pub fn worker(settings: Settings) -> Self {
        Self::new("postrider-worker", settings)
    }

    /// Starts a worker that is watched; gives the URL of its `[metrics] listen` too.
    pub fn watched_worker(mut settings: Settings) -> (Self, String) {
        let address = format!("127.0.0.1:{}", free_port());
        settings.insert("POSTRIDER_METRICS__LISTEN".to_owned(), address.clone());
        (Self::worker(settings), format!("http://{address}"))
    }

    /// A worker with arguments.
    #[cfg(test)]
    pub fn worker_with(settings: Settings, arguments: &'static [&'static str]) -> Self {
        Self { arguments, ..Self::stopped("postrider-worker", settings) }.started()
    }

    /// Starts `postrider-api` with its data on a disk of so many megabytes.
    pub fn api_on_a_small_disk(mut settings: Settings, megabytes: u32) -> Self {
        let folder = services::new_folder("disk");
        settings.insert("POSTRIDER_DATA_DIR".to_owned(), folder.display().to_string());
        let disk = Some(Disk { folder, megabytes });
        Self { disk, ..Self::stopped("postrider-api", settings) }.started()
    }

    fn new(name: &'static str, settings: Settings) -> Self {
        Self::stopped(name, settings).started()
    }

    fn stopped(name: &'static str, mut settings: Settings) -> Self {
        settings.entry("POSTRIDER_LISTEN".to_owned()).or_insert_with(|| "127.0.0.1:0".to_owned());
        let folder = services::new_folder(name);
        Self { name, settings, arguments: &[], folder, runs: 0, guarded: None, disk: None }
    }

    fn started(mut self) -> Self {
        self.start();
        self
    }

    /// Starts it, also again after it was killed.
    pub fn start(&mut self) {
        self.runs += 1;
        let file = |kind| std::fs::File::create(self.path(kind)).unwrap();
        let mut command = match &self.disk {
            None => command(self.name, &self.settings),
            Some(disk) => disk.command(self.name, &self.settings),
        };
        // The folder has no postrider.toml that could get in the way.
        command
            .args(self.arguments)
            .current_dir(&self.folder)
            .stdout(file("out"))
            .stderr(file("log"));
        self.guarded = Some(Guarded::spawn(&mut command).unwrap());
    }

    fn path(&self, kind: &str) -> PathBuf {
        self.folder.join(format!("{}.{kind}", self.runs))
    }

    /// What this run printed and logged.
    pub fn output(&self) -> String {
        let read = |kind| std::fs::read_to_string(self.path(kind)).unwrap_or_default();
        format!("{}{}", read("out"), read("log"))
    }

    /// Where the API listens.
    pub async fn url(&mut self) -> String {
        let address = eventually("the API to listen", || {
            let output = self.output();
            let ended = self.guarded.as_mut().and_then(Guarded::ended);
            assert!(ended.is_none(), "{} ended with {ended:?}:\n{output}", self.name);
            let found = output.split_once("listening on http://").map(|(_, rest)| {
                rest.chars()
                    .take_while(|c| !c.is_whitespace() && *c != '"' && *c != '\u{1b}')
                    .collect::<String>()
            });
            std::future::ready(found)
        });
        format!("http://{}", address.await)
    }

    /// Fills its disk to the last byte.
    pub fn fill_disk(&self) {
        let mut filler = std::fs::File::create(self.filler()).unwrap();
        let page = [0; 4096];
        // A whole page may have no room where a part of one has.
        while filler.write_all(&page).is_ok() {}
        while filler.write_all(&page[..1]).is_ok() {}
    }

    /// Gives its disk room again.
    pub fn empty_disk(&self) {
        std::fs::remove_file(self.filler()).unwrap();
    }

    /// A file on its disk, as others see it.
    fn filler(&self) -> PathBuf {
        let (process, disk) = (self.guarded.as_ref().unwrap(), self.disk.as_ref().unwrap());
        PathBuf::from(format!("/proc/{}/root{}/filler", process.id(), disk.folder.display()))
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.guarded = None;
    }

    pub fn signal(&self, signal: &str) {
        self.guarded.as_ref().unwrap().signal(signal);
    }

    /// The exit code, once it has ended by itself; none where a signal ended it.
    pub async fn ended(&mut self) -> Option<i32> {
        let guarded = self.guarded.as_mut().unwrap();
        eventually("a process to end", || std::future::ready(guarded.ended())).await.code()
    }

    /// A token of `postrider-api token`, with this process's settings.
    pub fn token(&self, arguments: &[&str]) -> String {
        token(&self.settings, arguments)
    }
}

impl Disk {
    /// The same process with the disk in its place, in a namespace of its own: no root is needed for it.
    fn command(&self, name: &str, settings: &Settings) -> Command {
        let mount = r#"mount -t tmpfs -o "size=$1" tmpfs "$2" && exec "$3""#;
        let mut command = Command::new("/usr/bin/unshare");
        command
            .args(["--map-root-user", "--mount", "/bin/sh", "-c", mount, "sh"])
            .arg(format!("{}m", self.megabytes))
            .arg(&self.folder)
            .arg(binaries().join(name))
            .env_clear()
            .envs(settings)
            .stdin(Stdio::null());
        command
    }
}

/// What `postrider-api token` prints last.
pub fn token(settings: &Settings, arguments: &[&str]) -> String {
    let output = api_command(settings).arg("token").args(arguments).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text.lines().last().unwrap().to_owned()
}

/// Path and query.
fn target(url: &Url) -> String {
    match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    }
}

/// Talks to the API as a caller would.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    pub url: String,
    /// Empty: none is shown.
    pub token: String,
}

/// A status and a body.
pub type Answer = (u16, Value);

impl Client {
    pub fn new(url: String, token: String) -> Self {
        let timeout = std::time::Duration::from_secs(20);
        let http = reqwest::Client::builder().no_proxy().timeout(timeout).build().unwrap();
        Self { http, url, token }
    }

    /// The same, with a header on every request.
    pub fn with_header(mut self, name: &'static str, value: &str) -> Self {
        let timeout = std::time::Duration::from_secs(20);
        let headers = [(HeaderName::from_static(name), value.parse().unwrap())];
        let builder = reqwest::Client::builder().no_proxy().timeout(timeout);
        self.http = builder.default_headers(headers.into_iter().collect()).build().unwrap();
        self
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.answer(self.http.get(format!("{}{path}", self.url))).await
    }

    /// The body of an answer that isn't JSON.
    pub async fn text(&self, path: &str) -> String {
        let request = self.http.get(format!("{}{path}", self.url));
        String::from_utf8_lossy(&self.exchange(request).await.unwrap().1).into_owned()
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.answer(self.http.post(format!("{}{path}", self.url)).json(body)).await
    }

    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        self.answer(self.http.put(format!("{}{path}", self.url)).json(body)).await
    }

    pub async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.answer(self.http.patch(format!("{}{path}", self.url)).json(body)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.answer(self.http.delete(format!("{}{path}", self.url))).await
    }

    pub async fn delete_with(&self, path: &str, body: &Value) -> Answer {
        self.answer(self.http.delete(format!("{}{path}", self.url)).json(body)).await
    }

    /// A POST with a key; `Err` where no answer came.
    pub async fn try_post(
        &self,
        path: &str,
        key: &str,
        body: &Value,
    ) -> Result<Answer, reqwest::Error> {
        let request = self.http.post(format!("{}{path}", self.url)).json(body);
        let request = if key.is_empty() { request } else { request.header("idempotency-key", key) };
        self.try_answer(request).await
    }

    pub async fn send_code(&self, phone: &str) -> Answer {
        self.post("/v1/verifications", &json!({ "phone": phone, "purpose": "login" })).await
    }

    pub async fn check(&self, phone: &str, code: &str) -> Answer {
        let body = json!({ "phone": phone, "purpose": "login", "code": code });
        self.post("/v1/verifications/check", &body).await
    }

    /// The code that the sandbox was handed for a message.
    pub async fn sandbox_code(&self, message_id: &str) -> String {
        eventually("the sandbox to have the text", || async {
            let (_, body) = self.get("/sandbox/messages").await;
            let messages = body["messages"].as_array()?.clone();
            let message = messages.iter().find(|message| message["id"] == message_id)?;
            let text = message["text"].as_str()?;
            let digits: String = text
                .chars()
                .skip_while(|c| !c.is_ascii_digit())
                .take_while(char::is_ascii_digit)
                .collect();
            Some(digits)
        })
        .await
    }

    /// A message once it has this status.
    pub async fn message_once(&self, id: &str, status: &str) -> Value {
        eventually(&format!("message {id} to be {status}"), || async {
            let (_, body) = self.get(&format!("/v1/messages/{id}")).await;
            (body["status"] == status).then_some(body)
        })
        .await
    }

    async fn answer(&self, request: reqwest::RequestBuilder) -> Answer {
        self.try_answer(request).await.unwrap()
    }

    async fn try_answer(&self, request: reqwest::RequestBuilder) -> reqwest::Result<Answer> {
        let (status, body) = self.exchange(request).await?;
        Ok((status, serde_json::from_slice(&body).unwrap_or(Value::Null)))
    }

    /// Asks; what is answered must be as the API describes it.
    async fn exchange(&self, request: reqwest::RequestBuilder) -> reqwest::Result<(u16, Bytes)> {
        static CONFORMANCE: LazyLock<Conformance> =
            LazyLock::new(|| Conformance::new(postrider_api::openapi::document()));
        let request =
            if self.token.is_empty() { request } else { request.bearer_auth(&self.token) };
        let request = request.build()?;
        let (method, url) = (request.method().clone(), request.url().clone());
        let sent = request.body().and_then(reqwest::Body::as_bytes).unwrap_or_default().to_vec();
        let response = self.http.execute(request).await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.bytes().await?;
        CONFORMANCE.assert(&Exchange {
            method: method.as_str(),
            target: &target(&url),
            sent: &sent,
            status,
            headers: &headers,
            body: &body,
        });
        Ok((status, body))
    }
}
