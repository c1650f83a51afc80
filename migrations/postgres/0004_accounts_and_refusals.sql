-- Accounts that log in, their keys and money, what was refused, and who changed the blacklist. Times are UTC unix
-- milliseconds, money is integer minor units.

ALTER TABLE account ADD COLUMN email TEXT COLLATE "C"; -- in lower case
ALTER TABLE account ADD COLUMN password_hash TEXT; -- argon2id; null: no log-in by password
ALTER TABLE account ADD COLUMN security_question TEXT;
ALTER TABLE account ADD COLUMN security_answer_hash TEXT; -- argon2id
ALTER TABLE account ADD COLUMN on_behalf INTEGER NOT NULL DEFAULT 0; -- 0, 1: may say whose address a request comes from
ALTER TABLE account ADD COLUMN balance BIGINT NOT NULL DEFAULT 0; -- minor units
CREATE UNIQUE INDEX account_email ON account (email);

ALTER TABLE sms_log ADD COLUMN test INTEGER NOT NULL DEFAULT 0; -- 0, 1: of a test key, and never carried

CREATE TABLE api_key (
    id          TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    account_id  BIGINT           NOT NULL,
    name        TEXT             NOT NULL,
    hint        TEXT             NOT NULL, -- its first characters, to know it by
    hash        TEXT COLLATE "C" NOT NULL, -- SHA-256 of the key, in hex
    scopes      TEXT             NOT NULL, -- words with spaces between
    test        INTEGER          NOT NULL, -- 0, 1: its messages go to the sandbox
    networks    TEXT             NOT NULL, -- CIDRs with commas between; empty: from anywhere
    expires_at  BIGINT, -- null: never
    last_used   BIGINT, -- to some minutes
    create_time BIGINT           NOT NULL
);
CREATE UNIQUE INDEX api_key_hash ON api_key (hash);
CREATE INDEX api_key_account ON api_key (account_id, create_time, id);

CREATE TABLE revocation (
    jti         TEXT COLLATE "C" NOT NULL PRIMARY KEY, -- of a token that is dead before its time
    account_id  BIGINT           NOT NULL,
    expires_at  BIGINT           NOT NULL, -- of the token: the row may go then
    create_time BIGINT           NOT NULL
);
CREATE INDEX revocation_account ON revocation (account_id, expires_at);
CREATE INDEX revocation_expiry ON revocation (expires_at);

CREATE TABLE ledger_entry (
    id          TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    account_id  BIGINT           NOT NULL,
    kind        TEXT             NOT NULL, -- credit
    amount      BIGINT           NOT NULL, -- minor units
    balance     BIGINT           NOT NULL, -- after it
    reference   TEXT             NOT NULL,
    created_by  TEXT             NOT NULL,
    create_time BIGINT           NOT NULL
);
CREATE INDEX ledger_entry_account ON ledger_entry (account_id, create_time, id);

CREATE TABLE sms_refusal (
    id            TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    account_id    BIGINT, -- null: nobody was known yet
    test          INTEGER          NOT NULL, -- 0, 1: of a test key
    kind          TEXT             NOT NULL, -- code, notice, check, login
    rule          TEXT             NOT NULL, -- the answer's code
    policy        TEXT, -- the limit, where one refused
    phone_number  TEXT, -- masked
    purpose       TEXT,
    template_code TEXT,
    client_ip     TEXT,
    request_id    TEXT,
    times         BIGINT           NOT NULL, -- above 1: counted under a flood, as one row
    create_time   BIGINT           NOT NULL
);
CREATE INDEX sms_refusal_account ON sms_refusal (account_id, create_time, id);
CREATE INDEX sms_refusal_time ON sms_refusal (create_time, id);

CREATE TABLE sms_blacklist_change (
    id          TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    action      TEXT             NOT NULL, -- banned, lifted
    kind        TEXT COLLATE "C" NOT NULL, -- phone, phone_prefix, ip, cidr
    value       TEXT COLLATE "C" NOT NULL,
    reason      TEXT             NOT NULL,
    changed_by  TEXT             NOT NULL,
    "until"     BIGINT, -- null: for good, or lifted
    create_time BIGINT           NOT NULL
);
CREATE INDEX sms_blacklist_change_subject ON sms_blacklist_change (kind, value, create_time);
CREATE INDEX sms_blacklist_change_time ON sms_blacklist_change (create_time, id);

DROP VIEW sms_log_readable;
CREATE VIEW sms_log_readable AS
SELECT id, account_id, verification_id, key_id, type, phone_number, code, purpose, template_code, client_ip,
       provider, provider_message_id, attempts, status, error_code, error_message, response,
       to_timestamp(create_time / 1000.0) AT TIME ZONE 'UTC' AS create_time,
       to_timestamp(update_time / 1000.0) AT TIME ZONE 'UTC' AS update_time,
       to_timestamp(verify_time / 1000.0) AT TIME ZONE 'UTC' AS verify_time,
       test
FROM sms_log;
