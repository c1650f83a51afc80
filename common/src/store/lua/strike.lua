-- Refusals and failures that count against a phone or an address: enough of them within a window ban it.

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

-- Counts one in each of the request's windows. Gives the bans that this made, if any.
local function strike(entry, networks_only)
  local struck, place = {}, {}
  for _, s in ipairs(strikes_that_count(networks_only)) do
    local use = limit_use(s.key, s.threshold, s.window_ms)
    if use.used + 1 < s.threshold then
      limit_add(s.key, s.threshold, s.window_ms, use, entry)
    else
      redis.call('DEL', s.key)
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
