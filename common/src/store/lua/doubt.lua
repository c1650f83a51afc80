-- Marks a message whose confirm never came.
if not epoch then return LOST end
local key = 'msg:' .. request.messages[1]
if redis.call('HGET', key, 'confirmed') == '0' then redis.call('HSET', key, 'confirmed', 2) end
return answer(nil)
