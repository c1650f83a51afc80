-- An account's version, set first if a newer one is given.
if not epoch then return LOST end
local key = 'account:' .. int(request.account_id)
local version = num(redis.call('GET', key))
if request.version and (version == nil or version < request.version) then
  version = request.version
  redis.call('SET', key, int(version))
end
return answer(version)
