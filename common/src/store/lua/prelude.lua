-- What every script begins with: the clock, the epoch and the keys. Not for Redis Cluster: one script touches the keys of
-- a phone, an address and an account.
local epoch = redis.call('GET', 'epoch')
local time = redis.call('TIME')
local clock = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
-- Of the request at hand: `each.lua` sets them. The last three are the guard's.
local request, now, limits, uses, refusal
-- What all requests of a call have in common: looked up once, written once at the end.
local versions, lengths, buckets, counts = {}, {}, {}, {}

local LOST = 'l'
local function answer(value)
  return 'k' .. cmsgpack.pack(value)
end
local function num(value)
  if value then return tonumber(value) end
end
-- A number as digits. Writing one takes as long as a small call, and most come again within a call.
local written = {}
local function int(value)
  local digits = written[value]
  if not digits then
    digits = string.format('%d', value)
    written[value] = digits
  end
  return digits
end
local function count(what, lane, at, by)
  local key = 'count:' .. what .. ':' .. lane .. ':' .. int(math.floor(at / 10000))
  counts[key] = (counts[key] or 0) + by
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

-- Limits come as one list: each is its key, quota, window in ms, rank, and whether it is the phone's, which is refunded. A
-- table for each would take longer to make than to look at. Beside the list, the key under which the phone's are kept
-- together.
local FIELDS = 5
-- Up to this quota a limit is the times of its entries in one string, oldest first; up to a thousand a sorted set of
-- them; above, counts in sixty buckets.
local TIMES, ENTRIES = 64, 1000
local TIME, TIME_BYTES = '>I6', 6
local function time_at(times, place)
  return (struct.unpack(TIME, times, (place - 1) * TIME_BYTES + 1))
end
-- Writes what was added to the bucket of now.
local function write_bucket(use)
  if use.added == 0 then return end
  if use.moved then
    redis.call('HSET', use.key, 'first', int(use.first), 'at', int(use.at), 'base', int(use.base))
  end
  local there = redis.call('HINCRBY', use.key, int(use.at), int(use.added))
  if there == use.added then redis.call('PEXPIRE', use.key, int(use.window + 3600000)) end
end
