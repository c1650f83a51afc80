-- One entry in each limit, or none.
if not epoch then return LOST end
look_at_limits()
look_at_bans()
if refusal then
  refusal.fields.limits = limit_states()
  return answer(refusal.fields)
end
add_to_limits(request.entry)
return answer({ kind = 'taken', at = now, limits = limit_states() })
