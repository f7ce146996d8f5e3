-- Keeps a message. ARGV: key, id, accepted at and expires at (eight bytes each), payload, accepted at,
-- the score of its expiry, span within which to merge or '', limit, id of the window's end or '',
-- how many of the oldest are spared, promise, the epoch of the sender's claim (eight bytes); with an
-- idempotency name also the name's field and the end of its window.
-- Returns the position; or it and the evicted ids; or the outcome and what belongs to it.
-- include claims.lua
local base, key, id, payload = KEYS[1], ARGV[1], ARGV[2], ARGV[4]
local call = redis.call
local messages, waiting = base .. 'messages', base .. 'waiting:' .. key

if call('HEXISTS', messages, id) == 1 then
  return struct.unpack('>I8', call('HGET', messages, id))
end
local count = call('ZCARD', waiting)

local name = ARGV[13]
if name then
  local first = call('HGET', base .. 'names', name)
  call('ZCARD', base .. 'names:ends')
  if first and tonumber(ARGV[5]) <= tonumber(string.sub(first, 54)) then
    if string.sub(first, 14, 53) == redis.sha1hex(payload) then
      return { 'duplicate', string.sub(first, 1, 12), string.sub(first, 13, 13) }
    end
    return { 'conflict' }
  end
end

-- Notes that the name stands for a message, and forgets two names whose windows are over.
local function record(message)
  if not name then
    return
  end
  local names, ends = base .. 'names', base .. 'names:ends'
  for _, old in ipairs(call('ZRANGEBYSCORE', ends, '-inf', '(' .. ARGV[5], 'LIMIT', 0, 2)) do
    call('ZREM', ends, old)
    call('HDEL', names, old)
  end
  call('HSET', names, name, message .. ARGV[11] .. redis.sha1hex(payload) .. ARGV[14])
  call('ZADD', ends, ARGV[14], name)
end

-- The node that serves the key, if it is another than the sender.
local claim = call('HGET', base .. 'claims', key)
local other = claim and string.sub(claim, 1, 8) ~= ARGV[12] and claimant(claim)
other = other and lives(other, ARGV[5]) and other

if ARGV[7] ~= '' and count > 0 and not other then
  local last = call('ZRANGE', waiting, -1, -1)[1]
  if last ~= ARGV[9] and call('HSTRLEN', messages, last) == 24 + #payload then
    local value = call('HGET', messages, last)
    local age = tonumber(ARGV[5]) - struct.unpack('>I8', value, 9)
    if age <= tonumber(ARGV[7]) and string.sub(value, 25) == payload then
      record(last)
      return { 'merged', last }
    end
  end
end

-- What has been read above is of the right type. A failure of one of the first three writes leaves a
-- key that is listed without messages, or a position that is not used; both are harmless.
local function store()
  if count == 0 then
    call('ZADD', base .. 'keys', 0, key)
  end
  local position = call('INCR', base .. 'position')
  call('ZADD', base .. 'expiry', ARGV[6], id .. key)
  call('HSET', messages, id, struct.pack('>I8', position) .. ARGV[3] .. payload)
  call('ZADD', waiting, position, id)
  record(id)
  return position
end

local limit = tonumber(ARGV[8])
if count < limit then
  local position = store()
  if other then
    tell(other, 's' .. key)
    return { 'elsewhere', position, {} }
  end
  return position
end

-- include common.lua
probe(key)
local position, first = store(), 0
if other then
  tell(other, 's' .. key)
  first = limit
else
  local window_end = ARGV[9] ~= '' and call('ZRANK', waiting, ARGV[9])
  first = math.max(window_end and window_end + 1 or 0, tonumber(ARGV[10]))
end
local excess = count + 1 - first - limit
if excess <= 0 then
  return other and { 'elsewhere', position, {} } or position
end
local ids = call('ZRANGE', waiting, first, first + excess - 1)
local evicted = bury(key, ids, ARGV[5], string.sub(ARGV[3], 1, 8), '3')
return { other and 'elsewhere' or 'stored', position, evicted }
