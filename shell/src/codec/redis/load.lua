-- Reads the oldest messages. ARGV: key, most messages, most bytes.
-- Returns how many ever died, the position of the last message, and for each message its id, value
-- and history.
local base, key = KEYS[1], ARGV[1]
local call = redis.call
local waiting = base .. 'waiting:' .. key
local last = call('ZRANGE', waiting, -1, -1, 'WITHSCORES')[2] or false
local answer = { call('HGET', base .. 'deaths', key), last }
local most, most_bytes = tonumber(ARGV[2]), tonumber(ARGV[3])
local is_plain = call('HLEN', base .. 'histories') == 0
local rank, bytes = 0, 0
while rank < most do
  local ids = call('ZRANGE', waiting, rank, math.min(rank + 100, most) - 1)
  for _, id in ipairs(ids) do
    local value = call('HGET', base .. 'messages', id)
    answer[#answer + 1] = id
    answer[#answer + 1] = value
    answer[#answer + 1] = not is_plain and call('HGET', base .. 'histories', id)
    bytes = bytes + #value - 24
    if bytes >= most_bytes then
      return answer
    end
  end
  if #ids < 100 then
    return answer
  end
  rank = rank + 100
end
return answer
