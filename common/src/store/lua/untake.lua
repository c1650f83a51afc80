-- Takes back what one entry counted.
if not epoch then return LOST end
for i = 1, #request.limits, FIELDS do
  local key, quota, window = unpack(request.limits, i, i + FIELDS - 1)
  remove_entry(key, quota, window, request.at, request.entry)
end
return answer(nil)
