-- A verification: what changes, in fixed places, before what doesn't, which is JSON and as it was given.
local CHANGES, CHANGES_BYTES = '>I6I6I6I6I4I4c36', 68
local function load_verification(id)
  local packed = redis.call('GET', 'ver:' .. id)
  if not packed then return nil end
  local given, approved_at = string.sub(packed, CHANGES_BYTES + 1), nil
  local v = cjson.decode(given)
  approved_at, v.expires_at, v.keep_until, v.first_at, v.sends, v.fails, v.last_message = struct.unpack(CHANGES, packed)
  v.given, v.approved_at = given, approved_at > 0 and approved_at or nil
  return v
end
local function save_verification(v)
  local changes = struct.pack(CHANGES, v.approved_at or 0, v.expires_at, v.keep_until, v.first_at, v.sends, v.fails,
                              v.last_message)
  set_until('ver:' .. v.id, changes .. v.given, v.keep_until)
end
-- When a verification was approved.
local function approval(id)
  local approved_at = redis.call('GETRANGE', 'ver:' .. id, 0, 5)
  if approved_at == '' then return nil end
  approved_at = struct.unpack('>I6', approved_at)
  return approved_at > 0 and approved_at or nil
end
-- The fields of a verification that a claim depends on; nothing where it isn't there.
local function load_progress(id)
  local packed = redis.call('GETRANGE', 'ver:' .. id, 0, CHANGES_BYTES - 1)
  if packed == '' then return nil end
  local approved_at, expires_at, _, _, _, _, last_message = struct.unpack(CHANGES, packed)
  return { approved_at = approved_at > 0 and approved_at or nil, expires_at = expires_at, last_message = last_message }
end
