-- The current epoch, and the clock.
if not epoch then return LOST end
return answer({ epoch = epoch, now = clock })
