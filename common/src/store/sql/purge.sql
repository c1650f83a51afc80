-- What nobody asks for any more.
DELETE FROM store_limit_entry WHERE keep_until < ?1;
DELETE FROM store_limit_bucket WHERE keep_until < ?1;
DELETE FROM store_verification WHERE keep_until < ?1;
DELETE FROM store_live WHERE keep_until < ?1;
DELETE FROM store_message WHERE keep_until < ?1;
DELETE FROM store_unconfirmed WHERE keep_until < ?1;
DELETE FROM store_idempotency WHERE keep_until < ?1;
DELETE FROM store_claim WHERE keep_until < ?1;
DELETE FROM store_count WHERE bucket < ?1 / 10000 - 9000;
DELETE FROM store_sandbox WHERE "at" < ?1 - 86400000;
