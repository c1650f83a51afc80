-- Decides about one message.
if not epoch then return LOST end
local decided = decide()
if not decided.new then return answer(in_full(decided)) end
-- Of a new message its caller knows everything but this.
local kept = decided.kept
return 'n' .. cmsgpack.pack({
  kept.accepted_at, kept.deadline, kept.epoch, kept.resend_at, kept.expires_at or 0, decided.limits,
})
