-- What the guard of a send and that of a check have in common: limits, bans, idempotency keys.

-- How full a limit is: entries used, and the time until one more passes. What was found is kept for adding to it.
local function times_use(limit)
  local packed, since = redis.call('GET', limit[KEY]), now - limit[WINDOW]
  local times = packed and unpack_times(packed, since) or {}
  return { used = #times, times = times }
end
local function entries_use(limit)
  local used = redis.call('ZCARD', limit[KEY])
  if used > 0 then used = used - redis.call('ZREMRANGEBYSCORE', limit[KEY], '-inf', int(now - limit[WINDOW])) end
  return { used = used }
end
-- `base` is what the buckets before the one of `at` hold together: they are gone through when the window has moved on.
local function buckets_use(limit)
  local key, width = limit[KEY], math.floor(limit[WINDOW] / 60)
  local use = { first = math.floor((now - limit[WINDOW]) / width), at = math.floor(now / width), width = width }
  local kept = redis.call('HMGET', key, 'first', 'at', 'base', int(use.at))
  if num(kept[1]) == use.first and num(kept[2]) == use.at then
    use.used = num(kept[3]) + num(kept[4] or 0)
    return use
  end
  local flat = redis.call('HGETALL', key)
  use.used, use.moved = 0, true
  for i = 1, #flat, 2 do
    local bucket = num(flat[i])
    if bucket and bucket < use.first then
      redis.call('HDEL', key, flat[i])
    elseif bucket then
      use.used = use.used + num(flat[i + 1])
    end
  end
  use.base = use.used - num(kept[4] or 0)
  return use
end
-- The time until one more passes, where the quota is used up.
local function wait_of(limit, use)
  local key, quota, window = limit[KEY], limit[QUOTA], limit[WINDOW]
  if use.used < quota then return 0 end
  if use.times then return use.times[use.used - quota + 1] + window - now end
  if not use.width then
    local oldest = redis.call('ZREVRANGE', key, quota - 1, quota - 1, 'WITHSCORES')
    return num(oldest[2]) + window - now
  end
  local buckets, flat = {}, redis.call('HGETALL', key)
  for i = 1, #flat, 2 do
    local bucket = num(flat[i])
    if bucket then buckets[#buckets + 1] = { bucket, num(flat[i + 1]) } end
  end
  table.sort(buckets, function(a, b) return a[1] > b[1] end)
  local newer = 0
  for _, b in ipairs(buckets) do
    newer = newer + b[2]
    if newer >= quota then return (b[1] + 1) * use.width + window - now end
  end
  return 0
end
local function limit_use(limit)
  local quota = limit[QUOTA]
  local look = quota <= TIMES and times_use or quota <= ENTRIES and entries_use or buckets_use
  local use = look(limit)
  use.wait = wait_of(limit, use)
  return use
end

local function limit_add(limit, use, entry)
  local key, keep_until = limit[KEY], now + limit[WINDOW]
  if use.times then
    local times = use.times
    local later = #times > 0 and times[#times] > now
    times[#times + 1] = now
    -- A clock that was put back.
    if later then table.sort(times) end
    set_until(key, pack_times(times), keep_until)
  elseif not use.width then
    redis.call('ZADD', key, int(now), entry)
    keep(key, keep_until)
  else
    if use.moved then redis.call('HSET', key, 'first', int(use.first), 'at', int(use.at), 'base', int(use.base)) end
    if redis.call('HINCRBY', key, int(use.at), 1) == 1 then keep(key, keep_until) end
  end
  use.used = use.used + 1
end

-- Every limit's use, and the first refusal by rank.
local function refuse(rank, kind, fields)
  if refusal == nil or rank < refusal.rank then
    fields.kind = kind
    refusal = { rank = rank, fields = fields }
  end
end
local function look_at_limits()
  for i, limit in ipairs(request.limits) do
    local use = limit_use(limit)
    uses[i] = use
    if use.used >= limit[QUOTA] then refuse(limit[RANK], 'limited', { index = i - 1, wait_ms = use.wait }) end
  end
end
local function add_to_limits(entry)
  for i, limit in ipairs(request.limits) do
    limit_add(limit, uses[i], entry)
    -- The wait was none: the oldest entry that fills the quota now says it.
    uses[i].wait = wait_of(limit, uses[i])
  end
end
local function limit_states()
  local states = {}
  for i, limit in ipairs(request.limits) do
    states[i] = { remaining = math.max(limit[QUOTA] - uses[i].used, 0), wait_ms = uses[i].wait }
  end
  return states
end

local function banned(field)
  local till = num(redis.call('HGET', 'bans', field))
  if till == nil then return nil end
  if till == 0 or till > now then return till end
  return nil
end
local function add_ban(hits, kind, value)
  local till = banned(kind .. ':' .. value)
  if till then hits[#hits + 1] = { subject = { kind = kind, value = value }, ['until'] = till } end
end
-- The widest first. Only beginnings of lengths that exist are looked up.
local function add_bans_of_beginnings(hits, kind, value)
  local lengths = redis.call('HGET', 'bans', 'lengths:' .. kind)
  if not lengths then return end
  local widest_first = {}
  for length, _ in pairs(cjson.decode(lengths)) do widest_first[#widest_first + 1] = num(length) end
  table.sort(widest_first)
  for _, length in ipairs(widest_first) do
    if length <= #value then add_ban(hits, kind, string.sub(value, 1, length)) end
  end
end
-- The bans in force that hit the request's phone, and those that hit its address.
local function bans_on_phone()
  local hits, phone = {}, request.ban_check.phone
  if phone then
    add_ban(hits, 'phone', phone)
    add_bans_of_beginnings(hits, 'phone_prefix', phone)
  end
  return hits
end
local function bans_on_address()
  local hits, bits = {}, request.ban_check.ip_bits
  if bits then add_bans_of_beginnings(hits, 'network', bits) end
  return hits
end
-- Says whether any hits, refused for another reason or not.
local function look_at_bans()
  local what, hit = 'phone', bans_on_phone()[1]
  if not hit then what, hit = 'ip', bans_on_address()[1] end
  if hit then refuse(4, 'banned', { what = what, ['until'] = hit['until'] }) end
  return hit ~= nil
end

local function stale_account(account)
  return num(redis.call('GET', 'account:' .. int(account.id))) ~= account.version
end

-- The entry of an idempotency key, and whether it was made of the same body.
local function kept_answer(idempotency)
  if not idempotency then return nil end
  local entry = hash('idem:' .. idempotency.key)
  if entry == nil or num(entry.keep_until) <= now then return nil end
  for _, fingerprint in ipairs(idempotency.fingerprints) do
    if fingerprint == entry.fingerprint then return entry, true end
  end
  return entry, false
end
