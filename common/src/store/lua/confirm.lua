-- Marks messages whose publish was confirmed.
if not epoch then return LOST end
for _, id in ipairs(request.messages) do
  local m = answering(id)
  if m then
    redis.call('HSET', 'msg:' .. id, 'confirmed', 1)
    answered(id, m)
  end
end
return answer(cjson.null)
