-- Takes entries out of the limits that they were counted in.
local function remove_entry(key, quota, window, at, entry)
  if quota <= TIMES then
    local times, place = redis.call('GET', key) or '', nil
    for i = 1, #times / TIME_BYTES do
      if time_at(times, i) == at then place = i end
    end
    if not place then return end
    times = string.sub(times, 1, (place - 1) * TIME_BYTES) .. string.sub(times, place * TIME_BYTES + 1)
    if times == '' then redis.call('DEL', key)
    else redis.call('SET', key, times, 'KEEPTTL') end
  elseif quota <= ENTRIES then
    redis.call('ZREM', key, entry)
  else
    local bucket = int(math.floor(at / math.floor(window / 60)))
    local kept = redis.call('HMGET', key, bucket, 'at')
    if num(kept[1] or 0) > 0 then
      redis.call('HINCRBY', key, bucket, -1)
      if kept[2] ~= bucket then redis.call('HINCRBY', key, 'base', -1) end
    end
  end
end
-- A message's entries: all of them, or those that are to be refunded.
local function give_back(id, kept, whole)
  local limits = cjson.decode(kept.limits)
  for i = 1, #limits, FIELDS do
    local key, quota, window, _, refund = unpack(limits, i, i + FIELDS - 1)
    if whole or refund then remove_entry(key, quota, window, kept.accepted_at, id) end
  end
end
