-- Bans and a new epoch, where there is none.
if not epoch then
  redis.call('DEL', 'bans')
  for _, ban in ipairs(request.bans) do ban_set(ban.subject, ban['until']) end
  redis.call('SET', 'epoch', request.epoch)
end
return answer(nil)
