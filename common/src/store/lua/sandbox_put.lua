-- Keeps what a sandbox was handed: for a day, the newest 1,000 of an account.
if not epoch then return LOST end
local key = 'sandbox:' .. int(request.account_id)
local kept = cmsgpack.pack({ message_id = request.message_id, at = now, sealed = request.sealed })
redis.call('LPUSH', key, kept)
redis.call('LTRIM', key, 0, 999)
keep(key, now + 86400000)
return answer(nil)
