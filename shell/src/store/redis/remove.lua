-- Forgets messages, waiting or dead. ARGV: key, ids. Returns how many were dead.
local base, key = KEYS[1], ARGV[1]
local call = redis.call
local waiting = base .. 'waiting:' .. key

-- Forgets messages that all wait.
local function forget(ids, members)
  call('ZREM', base .. 'expiry', unpack(members))
  call('HDEL', base .. 'histories', unpack(ids))
  call('HDEL', base .. 'messages', unpack(ids))
  call('ZREM', waiting, unpack(ids))
  if call('EXISTS', waiting) == 0 then
    call('ZREM', base .. 'keys', key)
  end
end

-- A thousand at a time: what a call can take is limited.
local others = {}
for first = 2, #ARGV, 1000 do
  local last = math.min(first + 999, #ARGV)
  local scores = call('ZMSCORE', waiting, unpack(ARGV, first, last))
  local ids, members = {}, {}
  for i = first, last do
    if scores[i - first + 1] then
      ids[#ids + 1] = ARGV[i]
      members[#members + 1] = ARGV[i] .. key
    else
      others[#others + 1] = ARGV[i]
    end
  end
  if #ids > 0 then
    forget(ids, members)
  end
end
if #others == 0 then
  return 0
end

-- include common.lua
probe(key)
local withdrawn = 0
for _, id in ipairs(others) do
  if exhume(key, id) then
    call('HDEL', histories, id)
    call('HDEL', messages, id)
    withdrawn = withdrawn + 1
  end
end
return withdrawn
