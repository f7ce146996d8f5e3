-- Takes a key. ARGV: key, node, now, and 'take' or 'keep'. Returns the epoch and that of the claim that
-- stood, eight bytes each; or nothing when another node keeps it.
-- include claims.lua
local key, node, claims = ARGV[1], ARGV[2], KEYS[1] .. 'claims'
local claim = redis.call('HGET', claims, key)
local previous, before, taken = unclaimed, '', false
if claim then
  previous = string.sub(claim, 1, 8)
  local holder = claimant(claim)
  local keeps = ARGV[4] == 'keep'
  if holder == node then
    if keeps then
      return { previous, previous }
    end
    before = string.sub(claim, 11 + #holder)
  elseif keeps and lives(holder, ARGV[3]) then
    return false
  else
    before, taken = holder, true
  end
end
local epoch = struct.pack('>I8', redis.call('INCR', KEYS[1] .. 'epoch'))
redis.call('HSET', claims, key, epoch .. struct.pack('>I2', #node) .. node .. before)
if taken then
  tell(before, 't' .. epoch .. key)
end
return { epoch, previous }
