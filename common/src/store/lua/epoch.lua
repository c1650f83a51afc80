-- The current epoch.
if not epoch then return LOST end
return answer(epoch)
