-- Times are UTC unix milliseconds. Widths of texts are kept by the code (common/src/database/text.rs).
-- Ids are compared by bytes (COLLATE "C"), as the other engines do, so that pages come in one order.

CREATE TABLE sms_log (
    id                  TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    account_id          BIGINT  NOT NULL,
    verification_id     TEXT COLLATE "C",
    key_id              TEXT    NOT NULL,
    type                INTEGER NOT NULL, -- 1 a code, 2 a notice
    phone_number        TEXT COLLATE "C" NOT NULL,
    code                TEXT,             -- sealed
    purpose             TEXT,
    template_code       TEXT    NOT NULL,
    client_ip           TEXT,
    provider            TEXT,
    provider_message_id TEXT,
    attempts            INTEGER NOT NULL,
    status              INTEGER NOT NULL, -- 0 failed, 1 sent, 2 unknown; 0 and 2 may become 1, never back
    error_code          TEXT,
    error_message       TEXT,
    response            TEXT,
    create_time         BIGINT  NOT NULL,
    update_time         BIGINT  NOT NULL,
    verify_time         BIGINT
);

CREATE INDEX sms_log_account ON sms_log (account_id, create_time, id);
CREATE INDEX sms_log_account_phone ON sms_log (account_id, phone_number, create_time, id);
CREATE INDEX sms_log_time ON sms_log (create_time, id);
CREATE INDEX sms_log_verification ON sms_log (verification_id);

CREATE TABLE sms_attempt (
    message_id          TEXT COLLATE "C" NOT NULL,
    "number"            INTEGER NOT NULL, -- from 1
    provider            TEXT    NOT NULL,
    outcome             TEXT    NOT NULL,
    "at"                BIGINT  NOT NULL,
    duration_ms         BIGINT  NOT NULL,
    provider_message_id TEXT,
    error_code          TEXT,
    error_message       TEXT,
    PRIMARY KEY (message_id, "number")
);

CREATE TABLE dead_letter (
    id          TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    message_id  TEXT COLLATE "C",
    lane        TEXT,
    reason      TEXT   NOT NULL,
    detail      TEXT   NOT NULL,
    attempts    TEXT   NOT NULL, -- JSON
    job         TEXT   NOT NULL, -- sealed
    create_time BIGINT NOT NULL
);

CREATE INDEX dead_letter_time ON dead_letter (create_time, id);
CREATE INDEX dead_letter_message ON dead_letter (message_id);

CREATE TABLE account (
    id                BIGINT  NOT NULL PRIMARY KEY,
    username          TEXT COLLATE "C" NOT NULL,
    role              TEXT    NOT NULL, -- account, admin
    may_send          INTEGER NOT NULL, -- 0, 1
    version           BIGINT  NOT NULL, -- raised by every change
    tokens_valid_from BIGINT  NOT NULL,
    create_time       BIGINT  NOT NULL,
    update_time       BIGINT  NOT NULL
);

CREATE UNIQUE INDEX account_username ON account (username);

CREATE TABLE sms_blacklist (
    kind        TEXT COLLATE "C" NOT NULL, -- phone, phone_prefix, ip, cidr
    value       TEXT COLLATE "C" NOT NULL,
    reason      TEXT   NOT NULL,
    created_by  TEXT   NOT NULL,
    "until"     BIGINT,          -- null: for good
    create_time BIGINT NOT NULL,
    PRIMARY KEY (kind, value)
);

CREATE VIEW sms_log_readable AS
SELECT id, account_id, verification_id, key_id, type, phone_number, code, purpose, template_code, client_ip,
       provider, provider_message_id, attempts, status, error_code, error_message, response,
       to_timestamp(create_time / 1000.0) AT TIME ZONE 'UTC' AS create_time,
       to_timestamp(update_time / 1000.0) AT TIME ZONE 'UTC' AS update_time,
       to_timestamp(verify_time / 1000.0) AT TIME ZONE 'UTC' AS verify_time
FROM sms_log;
