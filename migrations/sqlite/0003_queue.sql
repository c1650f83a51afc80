-- The queue of the embedded form.

CREATE TABLE queue_job (
    id           INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    queue        TEXT    NOT NULL, -- sms.code, sms.notice, sms.rows
    rung         TEXT,             -- sms.retry.N while it waits, and until it is taken
    message_id   TEXT    NOT NULL,
    trace        TEXT,
    body         BLOB    NOT NULL,
    available_at INTEGER NOT NULL, -- UTC unix milliseconds
    taken        INTEGER NOT NULL DEFAULT 0,
    deliveries   INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX queue_job_ready ON queue_job (queue, available_at, id) WHERE taken = 0;
