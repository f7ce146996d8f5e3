-- Drops waiting messages. ARGV: key, limit, how many ids to spare, these, ids; all of the key without
-- ids. Returns those that were dropped.
-- include common.lua
local key, limit, spared = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local waiting = base .. 'waiting:' .. key
probe(key)
local spare, ids, purged = {}, {}, {}
for i = 4, 3 + spared do
  spare[ARGV[i]] = true
end
if #ARGV == 3 + spared then
  ids = call('ZRANGE', waiting, 0, -1)
else
  for i = 4 + spared, #ARGV do
    ids[#ids + 1] = ARGV[i]
  end
end
for _, id in ipairs(ids) do
  if #purged < limit and not spare[id] and call('ZREM', waiting, id) == 1 then
    call('ZREM', expiry, id .. key)
    call('HDEL', histories, id)
    call('HDEL', messages, id)
    purged[#purged + 1] = id
  end
end
if #purged > 0 and call('EXISTS', waiting) == 0 then
  call('ZREM', keys, key)
end
return purged
