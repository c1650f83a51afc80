-- Takes entries out of the limits that they were counted in.
local function remove_entry(limit, at, entry)
  if limit.quota == 1 then
    if redis.call('GET', limit.key) == int(at) .. '|' .. entry then redis.call('DEL', limit.key) end
  elseif limit.quota <= 1000 then
    redis.call('ZREM', limit.key, entry)
  else
    local bucket = int(math.floor(at / math.floor(limit.window_ms / 60)))
    if num(redis.call('HGET', limit.key, bucket) or 0) > 0 then
      redis.call('HINCRBY', limit.key, bucket, -1)
      redis.call('HINCRBY', limit.key, 'sum', -1)
    end
  end
end
-- A message's entries: all of them, or those that are to be refunded.
local function give_back(id, limits, whole)
  for _, limit in ipairs(cjson.decode(limits)) do
    if whole or limit.refund then remove_entry(limit, limit.at, id) end
  end
end
local function count(what, lane, at, by)
  local key = 'count:' .. what .. ':' .. lane .. ':' .. int(math.floor(at / 10000))
  local value = redis.call('INCRBY', key, by)
  if value == by then redis.call('PEXPIRE', key, 25 * 3600000 + 60000) end
end
