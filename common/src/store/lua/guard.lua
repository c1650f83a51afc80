-- What the guard of a send and that of a check have in common: limits, bans, idempotency keys.

-- How full a limit is: entries used, and the time until one more passes. What was found is kept for adding to it.
local function times_use(limit)
  local packed, window = redis.call('GET', limit[KEY]), limit[WINDOW]
  local times = packed and unpack_times(packed, now - window) or {}
  local used, over = #times, #times - limit[QUOTA] + 1
  return { used = used, wait = over > 0 and times[over] + window - now or 0, times = times }
end
local function entries_wait(limit, used)
  if used < limit[QUOTA] then return 0 end
  local oldest = redis.call('ZREVRANGE', limit[KEY], limit[QUOTA] - 1, limit[QUOTA] - 1, 'WITHSCORES')
  return num(oldest[2]) + limit[WINDOW] - now
end
local function entries_use(limit)
  local used = redis.call('ZCARD', limit[KEY])
  if used > 0 then used = used - redis.call('ZREMRANGEBYSCORE', limit[KEY], '-inf', int(now - limit[WINDOW])) end
  return { used = used, wait = entries_wait(limit, used) }
end
local function buckets_wait(limit, use)
  if use.used < limit[QUOTA] then return 0 end
  local newest, flat = { { use.at, use.added } }, redis.call('HGETALL', limit[KEY])
  for i = 1, #flat, 2 do
    local bucket = num(flat[i])
    if bucket then newest[#newest + 1] = { bucket, num(flat[i + 1]) } end
  end
  table.sort(newest, function(a, b) return a[1] > b[1] end)
  local newer = 0
  for _, b in ipairs(newest) do
    newer = newer + b[2]
    if newer >= limit[QUOTA] then return (b[1] + 1) * use.width + limit[WINDOW] - now end
  end
  return 0
end
-- `base` is what the buckets before the one of `at` hold together: they are gone through when the window has moved on.
local function buckets_use(limit)
  local key, window, width = limit[KEY], limit[WINDOW], math.floor(limit[WINDOW] / 60)
  local first, at = math.floor((now - window) / width), math.floor(now / width)
  local known = buckets[key]
  if known then
    if known.first == first and known.at == at then
      known.wait = buckets_wait(limit, known)
      return known
    end
    write_bucket(known)
  end
  local kept = redis.call('HMGET', key, 'first', 'at', 'base', int(at))
  local here, base, moved = num(kept[4]) or 0, num(kept[3]), false
  if num(kept[1]) ~= first or num(kept[2]) ~= at then
    base, moved = -here, true
    local flat = kept[2] and redis.call('HGETALL', key) or {}
    for i = 1, #flat, 2 do
      local bucket = num(flat[i])
      if bucket and bucket < first then
        redis.call('HDEL', key, flat[i])
      elseif bucket then
        base = base + num(flat[i + 1])
      end
    end
  end
  local use = {
    used = base + here, wait = 0, key = key, window = window, width = width, first = first, at = at, base = base,
    moved = moved, added = 0,
  }
  use.wait = buckets_wait(limit, use)
  buckets[key] = use
  return use
end
local function limit_use(limit)
  local quota = limit[QUOTA]
  if quota <= TIMES then return times_use(limit) end
  if quota <= ENTRIES then return entries_use(limit) end
  return buckets_use(limit)
end

-- Adds an entry, and says how full the limit is then: the oldest entry that fills the quota tells the wait.
local function limit_add(limit, use, entry)
  use.used = use.used + 1
  if use.times then
    local times, used = use.times, use.used
    times[used] = now
    -- A clock that was put back.
    if used > 1 and times[used - 1] > now then table.sort(times) end
    set_until(limit[KEY], pack_times(times), now + limit[WINDOW])
    if used >= limit[QUOTA] then use.wait = times[used - limit[QUOTA] + 1] + limit[WINDOW] - now end
  elseif use.width then
    use.added = use.added + 1
    use.wait = buckets_wait(limit, use)
  else
    redis.call('ZADD', limit[KEY], int(now), entry)
    keep(limit[KEY], now + limit[WINDOW])
    use.wait = entries_wait(limit, use.used)
  end
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
  end
end
local function limit_states()
  local states = {}
  for i, limit in ipairs(request.limits) do
    local use = uses[i]
    states[i] = { math.max(limit[QUOTA] - use.used, 0), use.wait }
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
  local widest_first = lengths[kind]
  if not widest_first then
    widest_first = {}
    local kept = redis.call('HGET', 'bans', 'lengths:' .. kind)
    for length, _ in pairs(kept and cjson.decode(kept) or {}) do widest_first[#widest_first + 1] = num(length) end
    table.sort(widest_first)
    lengths[kind] = widest_first
  end
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
  local id = account.id
  if versions[id] == nil then versions[id] = num(redis.call('GET', 'account:' .. int(id))) or false end
  return versions[id] ~= account.version
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
