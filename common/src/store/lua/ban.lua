-- Adds and removes bans.
if not epoch then return LOST end
for _, ban in ipairs(request.add) do ban_set(ban.subject, ban['until']) end
for _, subject in ipairs(request.remove) do ban_set(subject, nil) end
return answer(nil)
