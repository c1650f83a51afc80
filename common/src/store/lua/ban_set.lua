-- Bans are fields of one hash; `lengths:KIND` says how long the beginnings are that exist, and how many of each.
local BEGINNINGS = { phone_prefix = true, network = true }
local function ban_set(subject, till)
  local field = subject.kind .. ':' .. subject.value
  local new = redis.call('HEXISTS', 'bans', field) == 0
  if till then
    redis.call('HSET', 'bans', field, int(till))
  elseif redis.call('HDEL', 'bans', field) == 0 then
    return
  end
  if not BEGINNINGS[subject.kind] or (till and not new) then return end
  local kept = 'lengths:' .. subject.kind
  local by_length = cjson.decode(redis.call('HGET', 'bans', kept) or '{}')
  local length = tostring(#subject.value)
  local left = (by_length[length] or 0) + (till and 1 or -1)
  by_length[length] = left > 0 and left or nil
  redis.call('HSET', 'bans', kept, cjson.encode(by_length))
  lengths[subject.kind] = nil
end
