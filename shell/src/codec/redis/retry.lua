-- Notes failed tries of waiting messages, unless the sender has lost the key. ARGV: key, the epoch of
-- its claim, then for each message its id and its tries and
-- time as they are kept. Never lowers a message's tries.
local base, key = KEYS[1], ARGV[1]
local call = redis.call
local claim = call('HGET', base .. 'claims', key)
if (claim and string.sub(claim, 1, 8) or string.rep('\0', 8)) ~= ARGV[2] then
  return redis.status_reply('OK')
end
local waiting, histories = base .. 'waiting:' .. key, base .. 'histories'
for i = 3, #ARGV, 2 do
  if call('ZSCORE', waiting, ARGV[i]) then
    local history = call('HGET', histories, ARGV[i]) or ''
    local tries = history ~= '' and struct.unpack('>I4', history) or 0
    if struct.unpack('>I4', ARGV[i + 1]) > tries then
      call('HSET', histories, ARGV[i], ARGV[i + 1] .. string.sub(history, 13))
    end
  end
end
return redis.status_reply('OK')
