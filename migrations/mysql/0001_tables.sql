-- Times are UTC unix milliseconds. Widths of texts are kept by the code (common/src/database/text.rs).
-- Texts are compared by their code points (utf8mb4_bin), as the other engines do.

CREATE TABLE sms_log (
    id                  CHAR(36)      NOT NULL PRIMARY KEY,
    account_id          BIGINT        NOT NULL,
    verification_id     CHAR(36),
    key_id              VARCHAR(64)   NOT NULL,
    type                INTEGER       NOT NULL, -- 1 a code, 2 a notice
    phone_number        VARCHAR(16)   NOT NULL,
    code                VARCHAR(512),           -- sealed
    purpose             VARCHAR(320),
    template_code       VARCHAR(128)  NOT NULL,
    client_ip           VARCHAR(45),
    provider            VARCHAR(64),
    provider_message_id VARCHAR(128),
    attempts            INTEGER       NOT NULL,
    status              INTEGER       NOT NULL, -- 0 failed, 1 sent, 2 unknown; 0 and 2 may become 1, never back
    error_code          VARCHAR(128),
    error_message       VARCHAR(1024),
    response            VARCHAR(1024),
    create_time         BIGINT        NOT NULL,
    update_time         BIGINT        NOT NULL,
    verify_time         BIGINT,
    INDEX sms_log_account (account_id, create_time, id),
    INDEX sms_log_account_phone (account_id, phone_number, create_time, id),
    INDEX sms_log_time (create_time, id),
    INDEX sms_log_verification (verification_id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE sms_attempt (
    message_id          CHAR(36)      NOT NULL,
    `number`            INTEGER       NOT NULL, -- from 1
    provider            VARCHAR(64)   NOT NULL,
    outcome             VARCHAR(32)   NOT NULL,
    `at`                BIGINT        NOT NULL,
    duration_ms         BIGINT        NOT NULL,
    provider_message_id VARCHAR(128),
    error_code          VARCHAR(128),
    error_message       VARCHAR(1024),
    PRIMARY KEY (message_id, `number`)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE dead_letter (
    id          VARCHAR(128)  NOT NULL PRIMARY KEY,
    message_id  CHAR(36),
    lane        VARCHAR(16),
    reason      VARCHAR(32)   NOT NULL,
    detail      VARCHAR(1024) NOT NULL,
    attempts    MEDIUMTEXT    NOT NULL, -- JSON
    job         MEDIUMTEXT    NOT NULL, -- sealed
    create_time BIGINT        NOT NULL,
    INDEX dead_letter_time (create_time, id),
    INDEX dead_letter_message (message_id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE account (
    id                BIGINT       NOT NULL PRIMARY KEY,
    username          VARCHAR(128) NOT NULL,
    role              VARCHAR(16)  NOT NULL, -- account, admin
    may_send          INTEGER      NOT NULL, -- 0, 1
    version           BIGINT       NOT NULL, -- raised by every change
    tokens_valid_from BIGINT       NOT NULL,
    create_time       BIGINT       NOT NULL,
    update_time       BIGINT       NOT NULL,
    UNIQUE INDEX account_username (username)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE sms_blacklist (
    kind        VARCHAR(16)   NOT NULL, -- phone, phone_prefix, ip, cidr
    value       VARCHAR(64)   NOT NULL,
    reason      VARCHAR(1024) NOT NULL,
    created_by  VARCHAR(128)  NOT NULL,
    `until`     BIGINT,                 -- null: for good
    create_time BIGINT        NOT NULL,
    PRIMARY KEY (kind, value)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE SQL SECURITY INVOKER VIEW sms_log_readable AS
SELECT id, account_id, verification_id, key_id, type, phone_number, code, purpose, template_code, client_ip,
       provider, provider_message_id, attempts, status, error_code, error_message, response,
       TIMESTAMP '1970-01-01 00:00:00' + INTERVAL create_time * 1000 MICROSECOND AS create_time,
       TIMESTAMP '1970-01-01 00:00:00' + INTERVAL update_time * 1000 MICROSECOND AS update_time,
       TIMESTAMP '1970-01-01 00:00:00' + INTERVAL verify_time * 1000 MICROSECOND AS verify_time
FROM sms_log;
