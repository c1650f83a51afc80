-- Decides about one message.
if not epoch then return LOST end
return answer(decide())
