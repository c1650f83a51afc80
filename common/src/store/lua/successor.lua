-- A later message of the same verification that goes on in place of this one: surely published, and not failed. One that was
-- withdrawn is in neither record.
local GAVE_UP = { failed = true, expired = true, poison = true }
local function has_successor(v, id, expires_at)
  if v.last_message == id or v.expires_at <= expires_at then return false end
  local claimed = load('claim:' .. v.last_message)
  if claimed then return not GAVE_UP[claimed.status or ''] end
  return redis.call('HGET', 'msg:' .. v.last_message, 'confirmed') == '1'
end
