-- Decides about many messages in their order, each seeing what those before it counted.
if not epoch then return LOST end
if stale_account(request.account) then return answer({ kind = 'stale_account' }) end
local batch = request
local kept, same = kept_answer(batch.batch)
-- A send's entry, which has a message, and a check's, which has an answer, are of another body in any case.
if kept and (not same or kept.message_id or kept.answer) then
  return answer({ kind = 'key_reused', fingerprint = not same and kept.fingerprint or nil })
end
local answers, stands = {}, false
for i, item in ipairs(batch.items) do
  request, uses, refusal = item, {}, nil
  answers[i] = in_full(decide())
  stands = stands or answers[i].kind == 'admitted' or answers[i].kind == 'replayed'
end
-- Where every item was refused there is nothing that another body could be mistaken for.
if stands and batch.batch and not kept_answer(batch.batch) then
  local key = 'idem:' .. batch.batch.key
  redis.call('DEL', key)
  redis.call('HSET', key, 'fingerprint', batch.batch.fingerprints[1], 'keep_until', int(now + 86400000))
  keep(key, now + 86400000)
end
return answer({ kind = 'decided', answers = answers })
