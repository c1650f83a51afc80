-- Writes something: a Redis that takes no writes refuses that. Gives the clock.
if not epoch then return LOST end
set_until('probe', int(now), now)
return answer(now)
