-- Takes back what one entry counted.
if not epoch then return LOST end
for _, limit in ipairs(request.limits) do remove_entry(limit, request.at, request.entry) end
return answer(nil)
