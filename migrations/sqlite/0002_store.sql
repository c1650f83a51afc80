-- The code store of the embedded form. Times are UTC unix milliseconds; `keep_until` says when a row may be purged,
-- and never decides anything.

CREATE TABLE store_epoch (
    epoch TEXT NOT NULL PRIMARY KEY
) STRICT;
INSERT INTO store_epoch VALUES (lower(hex(randomblob(16))));

CREATE TABLE store_account (
    id      INTEGER NOT NULL PRIMARY KEY,
    version INTEGER NOT NULL
) STRICT;

CREATE TABLE store_ban (
    kind    TEXT    NOT NULL, -- phone, phone_prefix, network (the beginning of an address in bits)
    value   TEXT    NOT NULL,
    "until" INTEGER NOT NULL, -- 0: for good
    PRIMARY KEY (kind, value)
) STRICT, WITHOUT ROWID;

-- Limits up to 1,000: one row an entry.
CREATE TABLE store_limit_entry (
    "key"      TEXT    NOT NULL,
    "at"       INTEGER NOT NULL,
    entry      TEXT    NOT NULL, -- the message's id, or a failed check's own
    keep_until INTEGER NOT NULL,
    PRIMARY KEY ("key", "at", entry)
) STRICT, WITHOUT ROWID;
CREATE INDEX store_limit_entry_keep ON store_limit_entry (keep_until);

-- Limits above: counts by sixtieths of the window.
CREATE TABLE store_limit_bucket (
    "key"      TEXT    NOT NULL,
    bucket     INTEGER NOT NULL,
    "count"    INTEGER NOT NULL,
    keep_until INTEGER NOT NULL,
    PRIMARY KEY ("key", bucket)
) STRICT, WITHOUT ROWID;
CREATE INDEX store_limit_bucket_keep ON store_limit_bucket (keep_until);

CREATE TABLE store_verification (
    id               TEXT    NOT NULL PRIMARY KEY,
    subject          TEXT    NOT NULL,
    account_id       INTEGER NOT NULL,
    purpose          TEXT    NOT NULL,
    key_id           TEXT    NOT NULL,
    digits           INTEGER NOT NULL,
    ttl_ms           INTEGER NOT NULL,
    max_attempts     INTEGER NOT NULL,
    remember_ms      INTEGER NOT NULL,
    first_at         INTEGER NOT NULL,
    expires_at       INTEGER NOT NULL,
    sends            INTEGER NOT NULL,
    fails            INTEGER NOT NULL,
    approved_at      INTEGER,
    last_message     TEXT    NOT NULL,
    keep_until       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX store_verification_keep ON store_verification (keep_until);

-- The latest verification of account, purpose and phone.
CREATE TABLE store_live (
    subject    TEXT    NOT NULL PRIMARY KEY,
    id         TEXT    NOT NULL,
    keep_until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX store_live_keep ON store_live (keep_until);

CREATE TABLE store_message (
    id              TEXT    NOT NULL PRIMARY KEY,
    account_id      INTEGER NOT NULL,
    lane            TEXT    NOT NULL,
    status          TEXT    NOT NULL,
    accepted_at     INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL,
    deadline        INTEGER NOT NULL,
    verification_id TEXT,
    previous_expiry INTEGER,          -- of its verification, before this send; null where it began it
    about           TEXT    NOT NULL, -- JSON
    attempts        TEXT    NOT NULL, -- JSON
    subject         TEXT    NOT NULL,
    confirmed       INTEGER NOT NULL, -- 0 its publish is in flight, 1 confirmed, 2 in doubt
    asked_at        INTEGER NOT NULL, -- when its publish was last begun
    idempotency     TEXT,
    limits          BLOB    NOT NULL, -- JSONB: what it was counted in
    answer          BLOB    NOT NULL, -- JSONB: what its request was answered
    keep_until      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX store_message_keep ON store_message (keep_until);

-- The latest message of a subject whose publish isn't confirmed yet.
CREATE TABLE store_unconfirmed (
    subject    TEXT    NOT NULL PRIMARY KEY,
    message_id TEXT    NOT NULL,
    keep_until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX store_unconfirmed_keep ON store_unconfirmed (keep_until);

CREATE TABLE store_idempotency (
    "key"       TEXT    NOT NULL PRIMARY KEY,
    fingerprint TEXT    NOT NULL,
    message_id  TEXT,             -- of a send
    done        INTEGER NOT NULL, -- 0, 1
    answer      TEXT    NOT NULL, -- JSON
    keep_until  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX store_idempotency_keep ON store_idempotency (keep_until);

CREATE TABLE store_claim (
    message_id  TEXT    NOT NULL PRIMARY KEY,
    generation  INTEGER NOT NULL,
    attempt     INTEGER NOT NULL,
    state       TEXT    NOT NULL, -- claimed, calling, resolved
    owner       TEXT    NOT NULL,
    lease_until INTEGER NOT NULL,
    claims      INTEGER NOT NULL,
    provider    TEXT    NOT NULL,
    called_at   INTEGER NOT NULL,
    resolution  TEXT    NOT NULL, -- empty once archived
    keep_until  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX store_claim_keep ON store_claim (keep_until);

CREATE TABLE store_count (
    what    TEXT    NOT NULL, -- accepted, done
    lane    TEXT    NOT NULL,
    bucket  INTEGER NOT NULL, -- of 10 s
    "count" INTEGER NOT NULL,
    PRIMARY KEY (what, lane, bucket)
) STRICT, WITHOUT ROWID;

CREATE TABLE store_sandbox (
    account_id INTEGER NOT NULL,
    "at"       INTEGER NOT NULL,
    message_id TEXT    NOT NULL,
    sealed     TEXT    NOT NULL,
    PRIMARY KEY (account_id, "at", message_id)
) STRICT, WITHOUT ROWID;
