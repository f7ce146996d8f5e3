-- What the scripts about dead letters share; the layout is described in docs/storage.md.
-- KEYS[1] is what the names of all keys begin with.
local base = KEYS[1]
local call = redis.call
local messages, histories = base .. 'messages', base .. 'histories'
local expiry, keys = base .. 'expiry', base .. 'keys'
local dead, letters, deaths = base .. 'dead', base .. 'letters', base .. 'deaths'

-- Reads all that a death or its end may write: a key of the wrong type ends the script before it has
-- changed anything.
local function probe(key)
  call('ZCARD', base .. 'waiting:' .. key)
  call('ZCARD', base .. 'dead:' .. key)
  call('ZCARD', expiry)
  call('ZCARD', keys)
  call('ZCARD', dead)
  call('HLEN', messages)
  call('HLEN', histories)
  call('HLEN', letters)
  call('HLEN', deaths)
end

-- Turns those of the messages that wait into dead letters, and returns them. The time of death is
-- given as a number's text and as eight bytes.
local function bury(key, ids, at, at8, reason)
  local waiting = base .. 'waiting:' .. key
  local buried = {}
  for _, id in ipairs(ids) do
    if call('ZREM', waiting, id) == 1 then
      call('ZREM', expiry, id .. key)
      local history = call('HGET', histories, id) or string.rep('\0', 12)
      call('HSET', histories, id, history .. at8 .. reason)
      call('HSET', letters, id, key)
      call('ZADD', dead, at, id .. reason .. key)
      call('ZADD', base .. 'dead:' .. key, at, id)
      buried[#buried + 1] = id
    end
  end
  if #buried > 0 then
    call('HINCRBY', deaths, key, #buried)
    if call('ZCARD', waiting) == 0 then
      call('ZREM', keys, key)
    end
  end
  return buried
end

-- Takes a dead letter out of its indexes, if it is one of this key; returns its history.
local function exhume(key, id)
  if not call('ZSCORE', base .. 'dead:' .. key, id) then
    return nil
  end
  local history = call('HGET', histories, id)
  call('ZREM', dead, id .. string.sub(history, -1) .. key)
  call('ZREM', base .. 'dead:' .. key, id)
  call('HDEL', letters, id)
  return history
end

-- How many members of a sorted set are at or before a place: a score and, at equal scores, an id. Ids
-- are compared as numbers: texts are compared by the server's locale.
local function places_until(set, score, id)
  local incarnation, counter = struct.unpack('>I4I8', id)
  local low = call('ZCOUNT', set, '-inf', '(' .. score)
  local high = call('ZCOUNT', set, '-inf', score)
  while low < high do
    local middle = math.floor((low + high) / 2)
    local one, other = struct.unpack('>I4I8', call('ZRANGE', set, middle, middle)[1])
    if one < incarnation or (one == incarnation and other <= counter) then
      low = middle + 1
    else
      high = middle
    end
  end
  return low
end

-- The dead letters that pass a filter, each as its key, id and time of death; at most limit. The
-- filter is key, reason, latest time, id, and the place behind which to begin as score and id; each
-- may be missing.
local function select_letters(filter, limit)
  local found = {}
  local set = filter.key and base .. 'dead:' .. filter.key or dead
  local rank, stop = 0, call('ZCARD', set)
  if filter.after_score then
    rank = places_until(set, filter.after_score, filter.after_id)
  end
  if filter.untils then
    stop = call('ZCOUNT', set, '-inf', filter.untils)
  end
  if filter.id then
    local key = call('HGET', letters, filter.id)
    if not key or (filter.key and filter.key ~= key) then
      return found
    end
    set = base .. 'dead:' .. key
    local at = call('ZSCORE', set, filter.id)
    if filter.after_score then
      rank = places_until(set, filter.after_score, filter.after_id)
    end
    local place = call('ZRANK', set, filter.id)
    local reason = string.sub(call('HGET', histories, filter.id), -1)
    local passes = place >= rank
      and (not filter.untils or tonumber(at) <= tonumber(filter.untils))
      and (not filter.reason or filter.reason == reason)
    if passes and limit > 0 then
      found[1] = { key, filter.id, at }
    end
    return found
  end
  while rank < stop and #found < limit do
    local last = math.min(rank + 999, stop - 1)
    local page = call('ZRANGE', set, rank, last, 'WITHSCORES')
    for i = 1, #page, 2 do
      local member, key, reason = page[i], filter.key, nil
      local id = string.sub(member, 1, 12)
      if key then
        reason = filter.reason and string.sub(call('HGET', histories, id), -1)
      else
        key, reason = string.sub(member, 14), string.sub(member, 13, 13)
      end
      if not filter.reason or filter.reason == reason then
        found[#found + 1] = { key, id, page[i + 1] }
        if #found == limit then
          return found
        end
      end
    end
    rank = last + 1
  end
  return found
end

-- Reads a filter from six arguments: marks of what is there ('k', 'r', 'u', 'i', 'a'), then what the
-- marks stand for.
local function read_filter(first)
  local filter, at = {}, first
  for mark in string.gmatch(ARGV[first], '.') do
    at = at + 1
    if mark == 'k' then
      filter.key = ARGV[at]
    elseif mark == 'r' then
      filter.reason = ARGV[at]
    elseif mark == 'u' then
      filter.untils = ARGV[at]
    elseif mark == 'i' then
      filter.id = ARGV[at]
    else
      filter.after_score, filter.after_id = ARGV[at], ARGV[at + 1]
      at = at + 1
    end
  end
  return filter, at + 1
end

