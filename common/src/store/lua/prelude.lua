-- What every script begins with: the clock, the epoch and the keys. Not for Redis Cluster: one script touches the keys of
-- a phone, an address and an account.
local epoch = redis.call('GET', 'epoch')
local time = redis.call('TIME')
local clock = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
-- Of the request at hand: `each.lua` sets them. The last two are the guard's.
local request, now, uses, refusal

local LOST = 'l'
local function answer(value)
  return 'k' .. cmsgpack.pack(value)
end
local function num(value)
  if value then return tonumber(value) end
end
local function int(value)
  return string.format('%d', value)
end
-- Redis's own expiry only cleans up: an hour after the time that decides.
local function ttl(until_ms)
  return int(math.max(until_ms - now, 0) + 3600000)
end
local function keep(key, until_ms)
  redis.call('PEXPIRE', key, ttl(until_ms))
end
-- Each call costs more than what it does: so a value and its expiry are one, and what belongs together is one value.
local function set_until(key, value, until_ms)
  redis.call('SET', key, value, 'PX', ttl(until_ms))
end
local function load(key)
  local packed = redis.call('GET', key)
  if packed then return cmsgpack.unpack(packed) end
end
-- A record is kept until its own `keep_until`.
local function save(key, record)
  set_until(key, cmsgpack.pack(record), record.keep_until)
end
local function hash(key)
  local flat = redis.call('HGETALL', key)
  if #flat == 0 then return nil end
  local fields = {}
  for i = 1, #flat, 2 do fields[flat[i]] = flat[i + 1] end
  return fields
end

-- The places of a limit's fields.
local KEY, QUOTA, WINDOW, RANK, REFUND = 1, 2, 3, 4, 5
-- Up to this quota a limit is the times of its entries in one string, oldest first; up to a thousand a sorted set of
-- them; above, counts in sixty buckets.
local TIMES, ENTRIES = 64, 1000
local TIME, TIME_BYTES = '>I6', 6
local function unpack_times(packed, since)
  local times = {}
  for place = 1, #packed, TIME_BYTES do
    local at = struct.unpack(TIME, packed, place)
    if at > since then times[#times + 1] = at end
  end
  return times
end
local function pack_times(times)
  local packed = {}
  for i, at in ipairs(times) do packed[i] = struct.pack(TIME, at) end
  return table.concat(packed)
end
