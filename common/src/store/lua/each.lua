-- Every request in its turn. One that fails takes no other's answer with it.
local answers, failed, why = {}, 0, nil
for i, packed in ipairs(ARGV) do
  request = cmsgpack.unpack(packed)
  now, uses, refusal = request.now or clock, {}, nil
  local done, answered = pcall(run)
  if not done then
    failed, why = failed + 1, type(answered) == 'table' and answered.err or tostring(answered)
    answered = 'f' .. why
  end
  answers[i] = answered
end
for _, use in pairs(buckets) do write_bucket(use) end
for key, by in pairs(counts) do
  if redis.call('INCRBY', key, int(by)) == by then redis.call('PEXPIRE', key, '90060000') end
end
-- Where it is Redis that refuses, the client should see its own word for it.
if failed == #ARGV then return redis.error_reply(why) end
return answers
