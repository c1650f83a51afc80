-- Times are UTC unix milliseconds. Widths of texts are kept by the code (common/src/database/text.rs).

CREATE TABLE sms_log (
    id                  TEXT    NOT NULL PRIMARY KEY,
    account_id          INTEGER NOT NULL,
    verification_id     TEXT,
    key_id              TEXT    NOT NULL,
    type                INTEGER NOT NULL, -- 1 a code, 2 a notice
    phone_number        TEXT    NOT NULL,
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
    create_time         INTEGER NOT NULL,
    update_time         INTEGER NOT NULL,
    verify_time         INTEGER
) STRICT;

CREATE INDEX sms_log_account ON sms_log (account_id, create_time, id);
CREATE INDEX sms_log_account_phone ON sms_log (account_id, phone_number, create_time, id);
CREATE INDEX sms_log_time ON sms_log (create_time, id);
CREATE INDEX sms_log_verification ON sms_log (verification_id);

CREATE TABLE sms_attempt (
    message_id          TEXT    NOT NULL,
    "number"            INTEGER NOT NULL, -- from 1
    provider            TEXT    NOT NULL,
    outcome             TEXT    NOT NULL,
    "at"                INTEGER NOT NULL,
    duration_ms         INTEGER NOT NULL,
    provider_message_id TEXT,
    error_code          TEXT,
    error_message       TEXT,
    PRIMARY KEY (message_id, "number")
) STRICT;

CREATE TABLE dead_letter (
    id          TEXT    NOT NULL PRIMARY KEY,
    message_id  TEXT,
    lane        TEXT,
    reason      TEXT    NOT NULL,
    detail      TEXT    NOT NULL,
    attempts    TEXT    NOT NULL, -- JSON
    job         TEXT    NOT NULL, -- sealed
    create_time INTEGER NOT NULL
) STRICT;

CREATE INDEX dead_letter_time ON dead_letter (create_time, id);
CREATE INDEX dead_letter_message ON dead_letter (message_id);

CREATE TABLE account (
    id                INTEGER NOT NULL PRIMARY KEY,
    username          TEXT    NOT NULL,
    role              TEXT    NOT NULL, -- account, admin
    may_send          INTEGER NOT NULL, -- 0, 1
    version           INTEGER NOT NULL, -- raised by every change
    tokens_valid_from INTEGER NOT NULL,
    create_time       INTEGER NOT NULL,
    update_time       INTEGER NOT NULL
) STRICT;

CREATE UNIQUE INDEX account_username ON account (username);

CREATE TABLE sms_blacklist (
    kind        TEXT    NOT NULL, -- phone, phone_prefix, ip, cidr
    value       TEXT    NOT NULL,
    reason      TEXT    NOT NULL,
    created_by  TEXT    NOT NULL,
    "until"     INTEGER,          -- null: for good
    create_time INTEGER NOT NULL,
    PRIMARY KEY (kind, value)
) STRICT;

CREATE VIEW sms_log_readable AS
SELECT id, account_id, verification_id, key_id, type, phone_number, code, purpose, template_code, client_ip,
       provider, provider_message_id, attempts, status, error_code, error_message, response,
       strftime('%Y-%m-%d %H:%M:%f', create_time / 1000.0, 'unixepoch') AS create_time,
       strftime('%Y-%m-%d %H:%M:%f', update_time / 1000.0, 'unixepoch') AS update_time,
       strftime('%Y-%m-%d %H:%M:%f', verify_time / 1000.0, 'unixepoch') AS verify_time
FROM sms_log;
