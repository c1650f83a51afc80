-- Accounts that log in, their keys and money, what was refused, and who changed the blacklist. Times are UTC unix
-- milliseconds, money is integer minor units.

ALTER TABLE account ADD COLUMN email VARCHAR(254); -- in lower case
ALTER TABLE account ADD COLUMN password_hash VARCHAR(256); -- argon2id; null: no log-in by password
ALTER TABLE account ADD COLUMN security_question VARCHAR(256);
ALTER TABLE account ADD COLUMN security_answer_hash VARCHAR(256); -- argon2id
ALTER TABLE account ADD COLUMN on_behalf INTEGER NOT NULL DEFAULT 0; -- 0, 1: may say whose address a request comes from
ALTER TABLE account ADD COLUMN balance BIGINT NOT NULL DEFAULT 0; -- minor units
CREATE UNIQUE INDEX account_email ON account (email);

ALTER TABLE sms_log ADD COLUMN test INTEGER NOT NULL DEFAULT 0; -- 0, 1: of a test key, and never carried

CREATE TABLE api_key (
    id          CHAR(36)      NOT NULL PRIMARY KEY,
    account_id  BIGINT        NOT NULL,
    name        VARCHAR(128)  NOT NULL,
    hint        VARCHAR(32)   NOT NULL, -- its first characters, to know it by
    hash        VARCHAR(64)   NOT NULL, -- SHA-256 of the key, in hex
    scopes      VARCHAR(128)  NOT NULL, -- words with spaces between
    test        INTEGER       NOT NULL, -- 0, 1: its messages go to the sandbox
    networks    VARCHAR(1024) NOT NULL, -- CIDRs with commas between; empty: from anywhere
    expires_at  BIGINT, -- null: never
    last_used   BIGINT, -- to some minutes
    create_time BIGINT        NOT NULL,
    UNIQUE INDEX api_key_hash (hash),
    INDEX api_key_account (account_id, create_time, id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE revocation (
    jti         VARCHAR(64) NOT NULL PRIMARY KEY, -- of a token that is dead before its time
    account_id  BIGINT      NOT NULL,
    expires_at  BIGINT      NOT NULL, -- of the token: the row may go then
    create_time BIGINT      NOT NULL,
    INDEX revocation_account (account_id, expires_at),
    INDEX revocation_expiry (expires_at)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE ledger_entry (
    id          CHAR(36)     NOT NULL PRIMARY KEY,
    account_id  BIGINT       NOT NULL,
    kind        VARCHAR(16)  NOT NULL, -- credit
    amount      BIGINT       NOT NULL, -- minor units
    balance     BIGINT       NOT NULL, -- after it
    reference   VARCHAR(128) NOT NULL,
    created_by  VARCHAR(128) NOT NULL,
    create_time BIGINT       NOT NULL,
    INDEX ledger_entry_account (account_id, create_time, id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE sms_refusal (
    id            CHAR(36)     NOT NULL PRIMARY KEY,
    account_id    BIGINT, -- null: nobody was known yet
    test          INTEGER      NOT NULL, -- 0, 1: of a test key
    kind          VARCHAR(16)  NOT NULL, -- code, notice, check, login
    rule          VARCHAR(64)  NOT NULL, -- the answer's code
    policy        VARCHAR(64), -- the limit, where one refused
    phone_number  VARCHAR(32), -- masked
    purpose       VARCHAR(320),
    template_code VARCHAR(128),
    client_ip     VARCHAR(45),
    request_id    VARCHAR(128),
    times         BIGINT       NOT NULL, -- above 1: counted under a flood, as one row
    create_time   BIGINT       NOT NULL,
    INDEX sms_refusal_account (account_id, create_time, id),
    INDEX sms_refusal_time (create_time, id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE sms_blacklist_change (
    id          CHAR(36)      NOT NULL PRIMARY KEY,
    action      VARCHAR(16)   NOT NULL, -- banned, lifted
    kind        VARCHAR(16)   NOT NULL, -- phone, phone_prefix, ip, cidr
    value       VARCHAR(64)   NOT NULL,
    reason      VARCHAR(1024) NOT NULL,
    changed_by  VARCHAR(128)  NOT NULL,
    `until`     BIGINT, -- null: for good, or lifted
    create_time BIGINT        NOT NULL,
    INDEX sms_blacklist_change_subject (kind, value, create_time),
    INDEX sms_blacklist_change_time (create_time, id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

DROP VIEW sms_log_readable;
CREATE SQL SECURITY INVOKER VIEW sms_log_readable AS
SELECT id, account_id, verification_id, key_id, type, phone_number, code, purpose, template_code, client_ip,
       provider, provider_message_id, attempts, status, error_code, error_message, response,
       TIMESTAMP '1970-01-01 00:00:00' + INTERVAL create_time * 1000 MICROSECOND AS create_time,
       TIMESTAMP '1970-01-01 00:00:00' + INTERVAL update_time * 1000 MICROSECOND AS update_time,
       TIMESTAMP '1970-01-01 00:00:00' + INTERVAL verify_time * 1000 MICROSECOND AS verify_time,
       test
FROM sms_log;
