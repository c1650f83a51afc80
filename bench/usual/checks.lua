-- Whether a send may go: blacklist, then limits, each a counter of its own that begins anew when it expires. One that goes
-- is counted, and its code kept. KEYS: the blacklist, the code, then a counter for each limit. ARGV: the code's record, its
-- seconds, how many blacklisted subjects to look for and those; then each limit's quota and seconds.
local place = 4
for _ = 1, tonumber(ARGV[3]) do
  if redis.call('SISMEMBER', KEYS[1], ARGV[place]) == 1 then return 'blacklisted' end
  place = place + 1
end
local limits = place
for i = 3, #KEYS do
  local used = tonumber(redis.call('GET', KEYS[i]) or '0')
  if used >= tonumber(ARGV[place]) then return 'limited' end
  place = place + 2
end
place = limits
for i = 3, #KEYS do
  if redis.call('INCR', KEYS[i]) == 1 then redis.call('EXPIRE', KEYS[i], ARGV[place + 1]) end
  place = place + 2
end
redis.call('SET', KEYS[2], ARGV[1], 'EX', ARGV[2])
return 'admitted'
