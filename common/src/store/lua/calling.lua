-- The provider is about to be called: only by whoever holds the claim.
if not epoch then return LOST end
local key = 'claim:' .. request.message_id
local c = hash(key)
local ours = c and num(c.generation) == request.generation and num(c.attempt) == request.attempt
  and c.owner == request.owner and c.state ~= 'resolved'
if not ours then return answer(false) end
redis.call('HSET', key, 'state', 'calling', 'provider', request.provider, 'called_at', int(now),
           'lease_until', int(now + request.lease_ms))
if redis.call('EXISTS', 'msg:' .. request.message_id) == 1 then
  redis.call('HSET', 'msg:' .. request.message_id, 'status', 'sending')
end
return answer(true)
