-- How limits and bans stand.
if not epoch then return LOST end
look_at_limits()
local limits, states = {}, limit_states()
for i, use in ipairs(uses) do
  limits[i] = { used = use.used, remaining = states[2 * i - 1], wait_ms = states[2 * i] }
end
local bans = bans_on_phone()
for _, ban in ipairs(bans_on_address()) do bans[#bans + 1] = ban end
return answer({ now = now, limits = limits, bans = bans })
