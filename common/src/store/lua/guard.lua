-- What the guard of a send and that of a check have in common: limits, bans, idempotency keys.

-- Looked at before it is added to. How full a limit is: entries used, and the time until one more passes.
local function limit_use(limit)
  local key, quota, window = limit.key, limit.quota, limit.window_ms
  if quota == 1 then
    local at = num(string.match(redis.call('GET', key) or '', '^(%d+)|'))
    if at and at > now - window then return 1, at + window - now end
    return 0, 0
  end
  if quota <= 1000 then
    local used = redis.call('ZCARD', key)
    if used > 0 then used = used - redis.call('ZREMRANGEBYSCORE', key, '-inf', int(now - window)) end
    if used < quota then return used, 0 end
    local oldest = redis.call('ZREVRANGE', key, quota - 1, quota - 1, 'WITHSCORES')
    return used, num(oldest[2]) + window - now
  end
  -- Sixty buckets, and under `sum` what they hold together: they are only gone through when the window has moved on.
  local width = math.floor(window / 60)
  local first = math.floor((now - window) / width)
  local kept = redis.call('HMGET', key, 'first', 'sum')
  local used = num(kept[2])
  limit.first = first
  if used and num(kept[1]) == first and used < quota then return used, 0 end
  local flat = redis.call('HGETALL', key)
  local buckets = {}
  used = 0
  for i = 1, #flat, 2 do
    local bucket = num(flat[i])
    if bucket and bucket < first then
      redis.call('HDEL', key, flat[i])
    elseif bucket then
      buckets[#buckets + 1] = { bucket, num(flat[i + 1]) }
      used = used + num(flat[i + 1])
    end
  end
  if #flat > 0 then redis.call('HSET', key, 'first', int(first), 'sum', int(used)) end
  if used < quota then return used, 0 end
  table.sort(buckets, function(a, b) return a[1] > b[1] end)
  local newer = 0
  for _, b in ipairs(buckets) do
    newer = newer + b[2]
    if newer >= quota then return used, (b[1] + 1) * width + window - now end
  end
  return used, 0
end

local function limit_add(limit, entry)
  if limit.quota == 1 then
    set_until(limit.key, int(now) .. '|' .. entry, now + limit.window_ms)
  elseif limit.quota <= 1000 then
    redis.call('ZADD', limit.key, int(now), entry)
    keep(limit.key, now + limit.window_ms)
  else
    local bucket = int(math.floor(now / math.floor(limit.window_ms / 60)))
    redis.call('HINCRBY', limit.key, 'sum', 1)
    if redis.call('HINCRBY', limit.key, bucket, 1) == 1 then
      redis.call('HSET', limit.key, 'first', int(limit.first))
      keep(limit.key, now + limit.window_ms)
    end
  end
end

-- Every limit's use, and the first refusal by rank.
local uses, refusal = {}, nil
local function refuse(rank, kind, fields)
  if refusal == nil or rank < refusal.rank then
    fields.kind = kind
    refusal = { rank = rank, fields = fields }
  end
end
local function look_at_limits()
  for i, limit in ipairs(request.limits) do
    local used, wait = limit_use(limit)
    uses[i] = { used = used, wait = wait }
    if used >= limit.quota then refuse(limit.rank, 'limited', { index = i - 1, wait_ms = wait }) end
  end
end
local function add_to_limits(entry)
  for i, limit in ipairs(request.limits) do
    limit_add(limit, entry)
    local used = uses[i].used + 1
    uses[i].used = used
    if used >= limit.quota then
      -- The wait was none: the oldest entry that fills the quota now says it.
      local _, wait = limit_use(limit)
      uses[i].wait = wait
    end
  end
end
local function limit_states()
  local states = {}
  for i, limit in ipairs(request.limits) do
    local full = uses[i].used >= limit.quota
    states[i] = {
      remaining = math.max(limit.quota - uses[i].used, 0),
      wait_ms = full and uses[i].wait or 0,
    }
  end
  -- An empty table would be written as an object: no limits, no field.
  if #states == 0 then return nil end
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
  if is(phone) then
    add_ban(hits, 'phone', phone)
    add_bans_of_beginnings(hits, 'phone_prefix', phone)
  end
  return hits
end
local function bans_on_address()
  local hits, bits = {}, request.ban_check.ip_bits
  if is(bits) then add_bans_of_beginnings(hits, 'network', bits) end
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
  if not is(idempotency) then return nil end
  local entry = hash('idem:' .. idempotency.key)
  if entry == nil or num(entry.keep_until) <= now then return nil end
  for _, fingerprint in ipairs(idempotency.fingerprints) do
    if fingerprint == entry.fingerprint then return entry, true end
  end
  return entry, false
end
