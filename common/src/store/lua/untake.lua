-- Takes back what one entry counted.
if not epoch then return LOST end
give_back(request.limits, request.at, request.entry, true)
return answer(nil)
