-- Lists keys for which messages wait. ARGV: where to begin and to end in the order of texts, limit.
-- Returns for each the key, how many messages wait, their bytes, and the first one's value's header.
local base, limit = KEYS[1], tonumber(ARGV[3])
local call = redis.call
local answer = {}
for _, key in ipairs(call('ZRANGEBYLEX', base .. 'keys', ARGV[1], ARGV[2], 'LIMIT', 0, limit)) do
  local ids = call('ZRANGE', base .. 'waiting:' .. key, 0, -1)
  local bytes = 0
  for _, id in ipairs(ids) do
    bytes = bytes + call('HSTRLEN', base .. 'messages', id) - 24
  end
  -- A key without messages is what a failed append may leave.
  if #ids > 0 then
    answer[#answer + 1] = key
    answer[#answer + 1] = #ids
    answer[#answer + 1] = bytes
    answer[#answer + 1] = string.sub(call('HGET', base .. 'messages', ids[1]), 1, 24)
  end
end
return answer
