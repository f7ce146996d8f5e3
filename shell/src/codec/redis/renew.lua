-- Extends a lease. ARGV: node, now, and for how long. Forgets leases that have been over for an hour,
-- and some claims of nodes that have none.
-- include claims.lua
local leases, claims = KEYS[1] .. 'leases', KEYS[1] .. 'claims'
local now = clock(ARGV[2])
local function text(number)
  return string.format('%.0f', number)
end
local place = redis.call('GET', KEYS[1] .. 'claims:place') or '0'
local found = forgets and redis.call('HSCAN', claims, place, 'COUNT', 50)
redis.call('ZREMRANGEBYSCORE', leases, '-inf', text(now - (forgets and 3600000000 or 0)))
redis.call('ZADD', leases, 'GT', text(now + ARGV[3]), ARGV[1])
if found then
  for i = 1, #found[2], 2 do
    if not redis.call('ZSCORE', leases, claimant(found[2][i + 1])) then
      redis.call('HDEL', claims, found[2][i])
    end
  end
  redis.call('SET', KEYS[1] .. 'claims:place', found[1])
end
return redis.status_reply('OK')
