-- Lets dead letters wait again. ARGV: key, expires at as eight bytes, its score, ids; all of the key
-- without ids. Returns those that were dead.
-- include claims.lua
-- include common.lua
local key = ARGV[1]
local waiting = base .. 'waiting:' .. key
probe(key)
local ids, requeued = {}, {}
if #ARGV == 3 then
  ids = call('ZRANGE', base .. 'dead:' .. key, 0, -1)
else
  for i = 4, #ARGV do
    ids[#ids + 1] = ARGV[i]
  end
end
for _, id in ipairs(ids) do
  local history = exhume(key, id)
  if history then
    call('HSET', histories, id, string.rep('\0', 12) .. string.sub(history, 13))
    local value = call('HGET', messages, id)
    local position = struct.unpack('>I8', value)
    call('HSET', messages, id, string.sub(value, 1, 16) .. ARGV[2] .. string.sub(value, 25))
    call('ZADD', expiry, ARGV[3], id .. key)
    call('ZADD', waiting, position, id)
    requeued[#requeued + 1] = id
  end
end
if #requeued > 0 then
  call('ZADD', keys, 0, key)
  local claim = call('HGET', base .. 'claims', key)
  if claim then
    tell(claimant(claim), 's' .. key)
  end
end
return requeued
