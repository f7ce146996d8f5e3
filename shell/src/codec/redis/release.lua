-- Gives a key up if the epoch is the current one. ARGV: key, epoch as eight bytes.
-- include claims.lua
local claims = KEYS[1] .. 'claims'
local claim = redis.call('HGET', claims, ARGV[1])
if not claim or string.sub(claim, 1, 8) ~= ARGV[2] then
  return 0
end
redis.call('HDEL', claims, ARGV[1])
local before = string.sub(claim, 11 + #claimant(claim))
if before ~= '' then
  tell(before, 'f' .. ARGV[1])
end
return 1
