-- Tells where a message is. ARGV: key, then its id, or the field of its name and the time now.
-- Returns its id, value and history; for a dead letter also its score. Only the id when it is gone,
-- nothing when it is unknown.
local base, key, id = KEYS[1], ARGV[1], ARGV[2]
local call = redis.call
local by_name = ARGV[3]
if by_name then
  local first = call('HGET', base .. 'names', id)
  if not first or tonumber(ARGV[3]) > tonumber(string.sub(first, 54)) then
    return {}
  end
  id = string.sub(first, 1, 12)
end
local waits = call('ZSCORE', base .. 'waiting:' .. key, id)
local at = not waits and call('ZSCORE', base .. 'dead:' .. key, id)
if waits or at then
  local value = call('HGET', base .. 'messages', id)
  return { id, value, call('HGET', base .. 'histories', id), at }
end
return by_name and { id } or {}
