-- Limits of a phone whose entries are few have one value together: writing and expiring a value takes longer than all that
-- is in these. It is a list: until when some have keys of their own, since it was full; then of each limit its key, until
-- when it counts, and its times.
local FULL = 3 * 64
local function place_of(list, key)
  for place = 2, #list, 3 do
    if list[place] == key then return place end
  end
end
