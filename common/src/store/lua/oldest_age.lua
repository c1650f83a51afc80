-- The time back over which the counts of accepted messages add up to what is ready: an hour's counts at a time, at most
-- the 25 hours that they live.
if not epoch then return LOST end
local bucket, total, oldest = math.floor(now / 10000), 0, nil
for hour = 0, 24 do
  local keys = {}
  for i = 0, 359 do keys[i + 1] = 'count:accepted:' .. request.lane .. ':' .. int(bucket - hour * 360 - i) end
  for i, value in ipairs(redis.call('MGET', unpack(keys))) do
    if value then
      total, oldest = total + num(value), bucket - hour * 360 - i + 1
      if total >= request.ready then return answer(math.max(now - oldest * 10000, 0)) end
    end
  end
end
return answer(oldest and math.max(now - oldest * 10000, 0) or 0)
