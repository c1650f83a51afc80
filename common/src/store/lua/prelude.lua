-- What every script begins with: the request, the clock, and the keys. Not for Redis Cluster: one script touches
-- the keys of a phone, an address and an account.
local request = cjson.decode(ARGV[1])
local function answer(value)
  return cjson.encode({ ok = value })
end
local function is(value)
  return value ~= nil and value ~= cjson.null
end
local function clock()
  if is(request.now) then return request.now end
  local t = redis.call('TIME')
  return tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
end
local now = clock()
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
-- Each call costs more than what it does: so a value and its expiry are one.
local function set_until(key, value, until_ms)
  redis.call('SET', key, value, 'PX', ttl(until_ms))
end
local function hash(key)
  local flat = redis.call('HGETALL', key)
  if #flat == 0 then return nil end
  local fields = {}
  for i = 1, #flat, 2 do fields[flat[i]] = flat[i + 1] end
  return fields
end
local epoch = redis.call('GET', 'epoch')
local LOST = '{"lost":true}'
