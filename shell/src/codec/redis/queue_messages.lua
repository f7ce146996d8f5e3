-- Lists waiting messages. ARGV: key, the place behind which to begin as a bound of scores, most
-- messages, most bytes. Returns for each its id, value and history.
local base = KEYS[1]
local call = redis.call
local waiting = base .. 'waiting:' .. ARGV[1]
local most_bytes, bytes, answer = tonumber(ARGV[4]), 0, {}
for _, id in ipairs(call('ZRANGEBYSCORE', waiting, ARGV[2], '+inf', 'LIMIT', 0, ARGV[3])) do
  local value = call('HGET', base .. 'messages', id)
  answer[#answer + 1] = id
  answer[#answer + 1] = value
  answer[#answer + 1] = call('HGET', base .. 'histories', id)
  bytes = bytes + #value - 24
  if bytes >= most_bytes then
    return answer
  end
end
return answer
