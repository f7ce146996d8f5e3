-- Takes a key. ARGV: key, node, now. Returns the epoch, and who held the key if anyone else did.
local base, key, node = KEYS[1], ARGV[1], ARGV[2]
local call = redis.call
local claim = call('HGET', base .. 'claims', key)
local before = false
if claim then
  local holder = string.sub(claim, 9)
  local ends = holder ~= node and call('ZSCORE', base .. 'leases', holder)
  before = ends and tonumber(ends) > tonumber(ARGV[3]) and holder or false
end
local epoch = call('INCR', base .. 'epoch')
call('HSET', base .. 'claims', key, struct.pack('>I8', epoch) .. node)
return { epoch, before }
