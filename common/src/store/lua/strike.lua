-- Refusals and failures that count against a phone, an account's checks of a phone, or an address: enough of them within
-- a window ban it.

-- Tells a refusal or failure from every other, of the same request too.
local function new_entry()
  return int(now) .. ':' .. int(redis.call('INCR', 'failures'))
end

-- Those of the request's strikes that count: all, or those against networks.
local function strikes_that_count(networks_only)
  local strikes = {}
  for _, s in ipairs(request.strikes and cjson.decode(request.strikes) or {}) do
    if not networks_only or s.subject.kind == 'network' then strikes[#strikes + 1] = s end
  end
  return strikes
end

-- Puts an entry into a window, or moves the one that is there to now. The window keeps its newest `most`: older ones
-- decide nothing. Gives how many it holds.
local function window_add(key, entry, most, window)
  redis.call('ZREMRANGEBYSCORE', key, '-inf', int(now - window))
  redis.call('ZADD', key, int(now), entry)
  keep(key, now + window)
  local many = redis.call('ZCARD', key)
  if many > most then redis.call('ZREMRANGEBYRANK', key, 0, int(many - most - 1)) end
  return math.min(many, most)
end

-- Counts one strike. Says whether its window bans now.
local function reaches_threshold(s, entry)
  local many, accounts = window_add(s.key, s.entry or entry, s.threshold, s.window_ms), s.accounts
  if not accounts then return many >= s.threshold end
  local distinct = window_add(s.key .. ':accounts', int(accounts.account_id), accounts.min, s.window_ms)
  return many >= s.threshold and distinct >= accounts.min
end

-- Counts one in each of the request's windows. Gives the bans that this made, if any.
local function strike(entry, networks_only)
  local struck, place = {}, {}
  for _, s in ipairs(strikes_that_count(networks_only)) do
    if reaches_threshold(s, entry) then
      redis.call('DEL', s.key, s.key .. ':accounts')
      local field, till = s.subject.kind .. ':' .. s.subject.value, now + s.ban_ms
      local there = num(redis.call('HGET', 'bans', field))
      -- A ban that is there is never shortened; 0 is for good.
      if there == nil or (there ~= 0 and there < till) then
        ban_set(s.subject, till)
        place[field] = place[field] or #struck + 1
        struck[place[field]] = { subject = s.subject, ['until'] = till }
      end
    end
  end
  return struck
end
