-- Keeps messages, in this order. ARGV, seven for each: key, id, value (accepted at and expires at, eight
-- bytes each, and the payload), the score of its expiry, the epoch of the sender's claim (eight bytes),
-- limit, and details: promise, 'm' to merge or '-', the span within which (eight bytes), how many of the
-- oldest are spared (four), 'w' or '-', the id of the window's end; with an idempotency name also the end
-- of its window (eight bytes) and the name's field.
-- What every message passes is written for speed: no iterators, numbers as texts.
-- Returns for each the position; or the outcome and what belongs to it; or why it failed.
-- include claims.lua
local base, ARGV, call, sub, pack = KEYS[1], ARGV, redis.call, string.sub, struct.pack
local messages, waiting_of = base .. 'messages', base .. 'waiting:'
local keys, ids, mailboxes = {}, {}, {}
local total = #ARGV / 7
for n = 1, total do
  local key = ARGV[7 * n - 6]
  keys[n], ids[n], mailboxes[n] = key, ARGV[7 * n - 5], waiting_of .. key
end
local known = call('HMGET', messages, unpack(ids))
local claims = call('HMGET', base .. 'claims', unpack(keys))
local none_waits = call('EXISTS', unpack(mailboxes)) == 0
local answers = {}

-- The node that has claimed the key, if it is not the sender under its last claim. It is told also when
-- its lease is over, for it may not know that.
local function other(n)
  local claim = claims[n]
  if not claim or sub(claim, 1, 8) == ARGV[7 * n - 2] then
    return nil
  end
  return claimant(claim)
end

-- Whether its lease holds, so that it serves the key.
local ends = {}
local function serves(node, n)
  ends[node] = ends[node] or tonumber(call('ZSCORE', base .. 'leases', node) or 0)
  return ends[node] > clock(struct.unpack('>I8', ARGV[7 * n - 4]))
end

-- Those that are only to be added, and what the list of keys lacks.
local plain, fresh = {}, {}
-- Who is to be told of them.
local others = {}

-- Adds those. What was read above is of the right type. A failure of one of the first three writes
-- leaves keys that are listed without messages, or positions that are not used; both are harmless.
local function add()
  local adds, lacks = plain, fresh
  plain, fresh = {}, {}
  if #adds == 0 then
    return
  end
  if #lacks > 0 then
    call('ZADD', base .. 'keys', unpack(lacks))
  end
  local position = call('INCRBY', base .. 'position', #adds) - #adds
  local ends, values = {}, {}
  for i = 1, #adds do
    local n = adds[i]
    local id, at = ids[n], 2 * i
    ends[at - 1], ends[at] = ARGV[7 * n - 3], id .. keys[n]
    values[at - 1], values[at] = id, pack('>I8', position + i) .. ARGV[7 * n - 4]
  end
  call('ZADD', base .. 'expiry', unpack(ends))
  call('HSET', messages, unpack(values))
  for i = 1, #adds do
    local n = adds[i]
    call('ZADD', mailboxes[n], string.format('%d', position + i), ids[n])
    answers[n] = position + i
    if others[n] then
      tell(others[n], 's' .. keys[n])
      if serves(others[n], n) then
        answers[n] = { 'elsewhere', position + i, {} }
      end
    end
  end
end

-- Keeps one about which there is more to decide; nothing else is to be added meanwhile.
local function keep(n)
  local key, id, waiting, details = keys[n], ids[n], mailboxes[n], ARGV[7 * n]
  local payload = string.sub(ARGV[7 * n - 4], 17)
  local accepted_at = struct.unpack('>I8', ARGV[7 * n - 4])
  local at = string.format('%.0f', accepted_at)
  if call('HEXISTS', messages, id) == 1 then
    return struct.unpack('>I8', call('HGET', messages, id))
  end
  local count = call('ZCARD', waiting)
  local node = other(n)
  local is_elsewhere = node and serves(node, n)

  local name, over = nil, nil
  if #details > 27 then
    name, over = string.sub(details, 36), string.format('%.0f', struct.unpack('>I8', details, 28))
    local first = call('HGET', base .. 'names', name)
    call('ZCARD', base .. 'names:ends')
    if first and accepted_at <= tonumber(string.sub(first, 54)) then
      if string.sub(first, 14, 53) == redis.sha1hex(payload) then
        if node then
          tell(node, 's' .. key)
        end
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
    for _, old in ipairs(call('ZRANGEBYSCORE', ends, '-inf', '(' .. at, 'LIMIT', 0, 2)) do
      call('ZREM', ends, old)
      call('HDEL', names, old)
    end
    local promise = string.sub(details, 1, 1)
    call('HSET', names, name, message .. promise .. redis.sha1hex(payload) .. over)
    call('ZADD', ends, over, name)
  end

  local window_end = string.sub(details, 15, 15) == 'w' and string.sub(details, 16, 27)
  if string.sub(details, 2, 2) == 'm' and count > 0 and not node then
    local last = call('ZRANGE', waiting, -1, -1)[1]
    if last ~= window_end and call('HSTRLEN', messages, last) == 24 + #payload then
      local value = call('HGET', messages, last)
      local age = accepted_at - struct.unpack('>I8', value, 9)
      if age <= struct.unpack('>I8', details, 3) and string.sub(value, 25) == payload then
        record(last)
        return { 'merged', last }
      end
    end
  end

  local function store()
    plain, fresh = { n }, count == 0 and { 0, key } or {}
    others[n] = node
    add()
    record(id)
    return answers[n]
  end

  local limit = tonumber(ARGV[7 * n - 1])
  if count < limit then
    return store()
  end

-- include common.lua
  probe(key)
  local stored, first = store(), limit
  if not is_elsewhere then
    local rank = window_end and call('ZRANK', waiting, window_end)
    first = math.max(rank and rank + 1 or 0, (struct.unpack('>I4', details, 11)))
  end
  local excess = count + 1 - first - limit
  if excess <= 0 then
    return stored
  end
  local oldest = call('ZRANGE', waiting, first, first + excess - 1)
  local evicted = bury(key, oldest, at, string.sub(ARGV[7 * n - 4], 1, 8), '3')
  return { is_elsewhere and 'elsewhere' or 'stored', is_elsewhere and stored[2] or stored, evicted }
end

local seen, counts, try = {}, {}, redis.pcall
-- How long plain and fresh are: asking tables costs.
local plains, lacking = 0, 0
for n = 1, total do
  local key, id, details = keys[n], ids[n], ARGV[7 * n]
  local count = counts[key] or none_waits and 0 or try('ZCARD', mailboxes[n])
  if type(count) == 'table' then
    answers[n] = count
  elseif not known[n] and not seen[id] and #details == 27
    and count < tonumber(ARGV[7 * n - 1])
    and (count == 0 or sub(details, 2, 2) == '-' or other(n))
  then
    others[n] = other(n)
    plains = plains + 1
    plain[plains] = n
    if count == 0 then
      lacking = lacking + 2
      fresh[lacking - 1], fresh[lacking] = '0', key
    end
    counts[key] = count + 1
  else
    add()
    local kept, answer = pcall(keep, n)
    if not kept and type(answer) ~= 'table' then
      answer = { err = answer }
    end
    answers[n] = answer
    counts[key], none_waits = nil, false
    plains, lacking = 0, 0
  end
  seen[id] = true
end
add()
return answers
