-- Lists messages whose time is over. ARGV: now, limit, and perhaps the place behind which to begin:
-- score and id. Returns for each its member and score.
-- include common.lua
local limit = tonumber(ARGV[2])
local first = ARGV[3] and places_until(expiry, ARGV[3], ARGV[4]) or 0
local stop = math.min(first + limit, call('ZCOUNT', expiry, '-inf', ARGV[1]))
local listed = {}
if stop > first then
  listed = call('ZRANGE', expiry, first, stop - 1, 'WITHSCORES')
end

-- Forgets some of what is unknown by now anyway.
local function forget(set, hash, before)
  local old = call('ZRANGEBYSCORE', set, '-inf', before, 'LIMIT', 0, math.min(limit, 1000))
  if #old > 0 then
    call('HDEL', hash, unpack(old))
    call('ZREM', set, unpack(old))
  end
end
forget(base .. 'sessions:ends', base .. 'sessions', ARGV[1])
forget(base .. 'names:ends', base .. 'names', '(' .. ARGV[1])
return listed
