-- What is kept of a message, beside the fields of its hash that change: one list, since a name for each would take longer
-- to write than the rest.
local function pack_kept(kept)
  return cmsgpack.pack({
    kept.accepted_at, kept.deadline, kept.epoch, kept.resend_at, kept.previous_expiry or false, kept.first_at or false,
    kept.expires_at or false, kept.sends or false, kept.verification or false, kept.account_id, kept.lane, kept.about,
    kept.limits,
  })
end
local function unpack_kept(packed)
  local kept = {}
  kept.accepted_at, kept.deadline, kept.epoch, kept.resend_at, kept.previous_expiry, kept.first_at, kept.expires_at,
    kept.sends, kept.verification, kept.account_id, kept.lane, kept.about, kept.limits = unpack(cmsgpack.unpack(packed))
  return kept
end
-- What its request was answered.
local function accepted(id, kept)
  local v = kept.verification and cjson.decode(kept.verification)
  return {
    message_id = id, accepted_at = kept.accepted_at, deadline = kept.deadline, epoch = kept.epoch,
    resend_at = kept.resend_at, client_ip = cjson.decode(kept.about).client_ip,
    verification = v and {
      id = v.id, key_id = v.key_id, digits = v.digits, ttl_ms = v.ttl_ms, first_at = kept.first_at,
      expires_at = kept.expires_at, sends = kept.sends, max_attempts = v.max_attempts, remember_ms = v.remember_ms,
    } or nil,
  }
end
