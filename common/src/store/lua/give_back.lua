-- Takes entries out of the limits that they were counted in.

-- Without one entry of that time; nothing where there is none.
local function without(times, at)
  for i = #times / TIME_BYTES, 1, -1 do
    if time_at(times, i) == at then
      return string.sub(times, 1, (i - 1) * TIME_BYTES) .. string.sub(times, i * TIME_BYTES + 1)
    end
  end
end
local function keep_rest(key, rest)
  if rest then redis.call('SET', key, rest, 'KEEPTTL')
  else redis.call('DEL', key) end
end
local function remove_entry(key, quota, window, at, entry)
  if quota <= TIMES then
    local times = without(redis.call('GET', key) or '', at)
    if times then keep_rest(key, times ~= '' and times) end
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
-- Gives whether the limit is in the phone's list, which it is taken out of with its last entry.
local function remove_from_list(list, key, at)
  local place = place_of(list, key)
  local times = place and without(list[place + 2], at)
  if times == '' then
    for _ = 1, 3 do table.remove(list, place) end
  elseif times then
    list[place + 2] = times
  end
  return place ~= nil
end
-- All entries of that time and name, or those of the phone.
local function give_back(listed, at, entry, whole)
  local counted_in, together = unpack(listed, 1, 2)
  local list = together and load(together)
  for i = 1, #counted_in, FIELDS do
    local key, quota, window, _, of_phone = unpack(counted_in, i, i + FIELDS - 1)
    if whole or of_phone then
      local is_listed = list and of_phone and remove_from_list(list, key, at)
      if not is_listed then remove_entry(key, quota, window, at, entry) end
    end
  end
  if list then keep_rest(together, (#list > 1 or list[1] > 0) and cmsgpack.pack(list)) end
end
