-- Extends a lease. ARGV: node, now, until.
local leases = KEYS[1] .. 'leases'
redis.call('ZREMRANGEBYSCORE', leases, '-inf', ARGV[2])
redis.call('ZADD', leases, 'GT', ARGV[3], ARGV[1])
return redis.status_reply('OK')
