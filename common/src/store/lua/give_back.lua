-- Takes entries out of the limits that they were counted in.
local function remove_entry(limit, at, entry)
  local key, quota, window = limit[KEY], limit[QUOTA], limit[WINDOW]
  if quota <= TIMES then
    local packed = redis.call('GET', key)
    local times, place = packed and unpack_times(packed, 0) or {}, nil
    for i, time in ipairs(times) do
      if time == at then place = i end
    end
    if not place then return end
    table.remove(times, place)
    if #times == 0 then redis.call('DEL', key)
    else redis.call('SET', key, pack_times(times), 'KEEPTTL') end
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
local function give_back(kept, whole)
  local accepted = kept.accepted
  for _, limit in ipairs(cjson.decode(kept.limits)) do
    if whole or limit[REFUND] then remove_entry(limit, accepted.accepted_at, accepted.message_id) end
  end
end
