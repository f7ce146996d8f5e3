-- Forgets messages, waiting or dead. ARGV, two for each mailbox: key, and ids, one behind the other.
-- Returns for each how many were dead, or why it failed.
local base, call = KEYS[1], redis.call
local expiry, messages, histories = base .. 'expiry', base .. 'messages', base .. 'histories'
local answers, ids, members, keys, mailboxes = {}, {}, {}, {}, {}

-- A key of the wrong type ends the script before it has changed anything.
call('ZCARD', expiry)
call('ZCARD', base .. 'keys')
call('HLEN', messages)
local has_histories = call('HLEN', histories) > 0

-- Calls for many: what a call can take is limited.
local function each(command, set, list)
  for first = 1, #list, 1000 do
    call(command, set, unpack(list, first, math.min(first + 999, #list)))
  end
end

-- Forgets those that do not wait any more.
local function exhume_all(key, gone)
-- include common.lua
  probe(key)
  local withdrawn = 0
  for _, id in ipairs(gone) do
    if exhume(key, id) then
      call('HDEL', histories, id)
      call('HDEL', messages, id)
      withdrawn = withdrawn + 1
    end
  end
  return withdrawn
end

-- Takes them out of the mailbox, and says how many that were.
local function take(waiting, own)
  local taken = 0
  for first = 1, #own, 1000 do
    local some = redis.pcall('ZREM', waiting, unpack(own, first, math.min(first + 999, #own)))
    if type(some) == 'table' then
      return some
    end
    taken = taken + some
  end
  return taken
end

for i = 1, #ARGV, 2 do
  local key, text, n = ARGV[i], ARGV[i + 1], (i + 1) / 2
  local waiting, own, taken = base .. 'waiting:' .. key, nil, nil
  if #text == 12 then
    own, taken = { text }, redis.pcall('ZREM', waiting, text)
  else
    own = {}
    for at = 1, #text, 12 do
      own[#own + 1] = string.sub(text, at, at + 11)
    end
    taken = take(waiting, own)
  end
  answers[n] = 0
  if type(taken) == 'table' then
    answers[n] = taken
  elseif taken == #own then
    for _, id in ipairs(own) do
      ids[#ids + 1], members[#members + 1] = id, id .. key
    end
  else
    local gone = {}
    for _, id in ipairs(own) do
      -- It waited if it could expire.
      if call('ZREM', expiry, id .. key) == 1 then
        ids[#ids + 1] = id
      else
        gone[#gone + 1] = id
      end
    end
    local done, answer = pcall(exhume_all, key, gone)
    if not done and type(answer) ~= 'table' then
      answer = { err = answer }
    end
    answers[n] = answer
  end
  if taken ~= 0 and type(taken) ~= 'table' then
    keys[#keys + 1], mailboxes[#mailboxes + 1] = key, waiting
  end
end

each('ZREM', expiry, members)
each('HDEL', messages, ids)
if has_histories then
  each('HDEL', histories, ids)
end
if #keys > 0 then
  local empty = keys
  if call('EXISTS', unpack(mailboxes)) > 0 then
    empty = {}
    for i, key in ipairs(keys) do
      if call('EXISTS', mailboxes[i]) == 0 then
        empty[#empty + 1] = key
      end
    end
  end
  each('ZREM', base .. 'keys', empty)
end
return answers
