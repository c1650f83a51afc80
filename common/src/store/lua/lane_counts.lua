-- Accepted and done in the last minute.
if not epoch then return LOST end
local function last_minute(what)
  local sum, bucket = 0, math.floor(now / 10000)
  for back = 0, 5 do
    sum = sum + num(redis.call('GET', 'count:' .. what .. ':' .. request.lane .. ':' .. int(bucket - back)) or 0)
  end
  return sum
end
return answer({ accepted = last_minute('accepted'), done = last_minute('done') })
