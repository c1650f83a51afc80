-- Rows of these messages are committed: what stays is what drops late copies.
if not epoch then return LOST end
local records = {}
for place, id in ipairs(request.messages) do records[place] = 'msg:' .. id end
if redis.call('DEL', unpack(records)) == #records then return answer(nil) end
-- Of one without a record the claim keeps the result.
for _, id in ipairs(request.messages) do
  local c = load('claim:' .. id)
  if c and c.state == 'resolved' and c.resolution then
    c.resolution = nil
    save('claim:' .. id, c)
  end
end
return answer(nil)
