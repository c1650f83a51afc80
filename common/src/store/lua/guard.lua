-- What the guard of a send and that of a check have in common: limits, bans, idempotency keys.

-- How full a limit is: entries used, and the time until one more passes. What was found is kept for adding to it.
local function times_wait(times, quota, window)
  local over = #times / TIME_BYTES - quota + 1
  return over > 0 and time_at(times, over) + window - now or 0
end
local function use_of(times, quota, window)
  local gone, all = 0, #times / TIME_BYTES
  while gone < all and time_at(times, gone + 1) <= now - window do gone = gone + 1 end
  if gone > 0 then times = string.sub(times, gone * TIME_BYTES + 1) end
  return { used = all - gone, wait = times_wait(times, quota, window), times = times }
end
local function times_use(key, quota, window)
  return use_of(redis.call('GET', key) or '', quota, window)
end
-- Those of the request's phone that are kept together: where, and the list without what has been over for so many ms that it
-- would be also if the clock were put back a little.
local OVER = 10000
local phone_key, phone_list
local function load_phone_limits(key)
  local kept = load(key) or { 0 }
  phone_key, phone_list = key, { kept[1] }
  for i = 2, #kept, 3 do
    if kept[i + 1] + OVER > now then
      local place = #phone_list + 1
      phone_list[place], phone_list[place + 1], phone_list[place + 2] = unpack(kept, i, i + 2)
    end
  end
end
local function phone_use(key, quota, window)
  local place, use = place_of(phone_list, key), nil
  if not place and phone_list[1] > now then use = times_use(key, quota, window) end
  if use and use.used > 0 then use.apart = true
  else use = use_of(place and phone_list[place + 2] or '', quota, window) end
  use.phone = true
  return use
end
local function phone_add(key, till, use)
  local place = place_of(phone_list, key)
  if use.apart or not place and #phone_list >= FULL then
    phone_list[1] = math.max(phone_list[1], till)
    return set_until(key, use.times, till)
  end
  place = place or #phone_list + 1
  phone_list[place], phone_list[place + 1], phone_list[place + 2] = key, math.max(phone_list[place + 1] or 0, till), use.times
end
local function save_phone_limits()
  local till = phone_list[1]
  for i = 3, #phone_list, 3 do till = math.max(till, phone_list[i]) end
  set_until(phone_key, cmsgpack.pack(phone_list), till)
end
local function entries_wait(key, quota, window, used)
  if used < quota then return 0 end
  local oldest = redis.call('ZREVRANGE', key, quota - 1, quota - 1, 'WITHSCORES')
  return num(oldest[2]) + window - now
end
local function entries_use(key, quota, window)
  local used = redis.call('ZCARD', key)
  if used > 0 then used = used - redis.call('ZREMRANGEBYSCORE', key, '-inf', int(now - window)) end
  return { used = used, wait = entries_wait(key, quota, window, used) }
end
local function buckets_wait(use, quota)
  if use.used < quota then return 0 end
  local newest, flat = { { use.at, use.added } }, redis.call('HGETALL', use.key)
  for i = 1, #flat, 2 do
    local bucket = num(flat[i])
    if bucket then newest[#newest + 1] = { bucket, num(flat[i + 1]) } end
  end
  table.sort(newest, function(a, b) return a[1] > b[1] end)
  local newer = 0
  for _, b in ipairs(newest) do
    newer = newer + b[2]
    if newer >= quota then return (b[1] + 1) * use.width + use.window - now end
  end
  return 0
end
-- `base` is what the buckets before the one of `at` hold together: they are gone through when the window has moved on.
local function buckets_use(key, quota, window)
  local width = math.floor(window / 60)
  local first, at = math.floor((now - window) / width), math.floor(now / width)
  local known = buckets[key]
  if known then
    if known.first == first and known.at == at then
      known.wait = buckets_wait(known, quota)
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
  use.wait = buckets_wait(use, quota)
  buckets[key] = use
  return use
end
local function limit_use(key, quota, window)
  if quota <= TIMES then return times_use(key, quota, window) end
  if quota <= ENTRIES then return entries_use(key, quota, window) end
  return buckets_use(key, quota, window)
end

-- A clock that was put back adds a time before the last one.
local function in_order(times)
  local sorted = {}
  for place = 1, #times / TIME_BYTES do sorted[place] = time_at(times, place) end
  table.sort(sorted)
  for place, time in ipairs(sorted) do sorted[place] = struct.pack(TIME, time) end
  return table.concat(sorted)
end
-- Adds an entry, and says how full the limit is then: the oldest entry that fills the quota tells the wait.
local function limit_add(key, quota, window, use, entry)
  use.used = use.used + 1
  if use.times then
    local last, times = use.used - 1, use.times .. struct.pack(TIME, now)
    if last > 0 and time_at(times, last) > now then times = in_order(times) end
    use.times, use.wait = times, times_wait(times, quota, window)
    if use.phone then phone_add(key, now + window, use)
    else set_until(key, times, now + window) end
  elseif use.width then
    use.added = use.added + 1
    use.wait = buckets_wait(use, quota)
  else
    redis.call('ZADD', key, int(now), entry)
    keep(key, now + window)
    use.wait = entries_wait(key, quota, window, use.used)
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
  local together
  limits, together = unpack(request.limits, 1, 2)
  if together then load_phone_limits(together) end
  for i = 1, #limits / FIELDS do
    local key, quota, window, rank, of_phone = unpack(limits, (i - 1) * FIELDS + 1, i * FIELDS)
    local use = (together and of_phone and quota <= TIMES and phone_use or limit_use)(key, quota, window)
    uses[i] = use
    if use.used >= quota then refuse(rank, 'limited', { index = i - 1, wait_ms = use.wait }) end
  end
end
local function add_to_limits(entry)
  local of_phone = false
  for i, use in ipairs(uses) do
    local key, quota, window = unpack(limits, (i - 1) * FIELDS + 1, i * FIELDS)
    limit_add(key, quota, window, use, entry)
    of_phone = of_phone or use.phone
  end
  if of_phone then save_phone_limits() end
end
-- Two numbers a limit: how many more pass, and the time until one does.
local function limit_states()
  local states = {}
  for i, use in ipairs(uses) do
    states[2 * i - 1], states[2 * i] = math.max(limits[(i - 1) * FIELDS + 2] - use.used, 0), use.wait
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
  local hits, phone, account_phone = {}, request.ban_check.phone, request.ban_check.account_phone
  if phone then
    add_ban(hits, 'phone', phone)
    add_bans_of_beginnings(hits, 'phone_prefix', phone)
  end
  if account_phone then add_ban(hits, 'account_phone', account_phone) end
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
