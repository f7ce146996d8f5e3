-- Keeps a session, unless the one that is kept has not expired and more has been applied to it, or as
-- much and its client was told of more deaths.
-- ARGV: id, the score of its end, the session, the time now.
local base = KEYS[1]
local kept = redis.call('HGET', base .. 'sessions', ARGV[1])
if kept then
  local expires_at, applied, deaths = struct.unpack('>I8I8I8', kept)
  local _, newly, told = struct.unpack('>I8I8I8', ARGV[3])
  local is_older = newly < applied or (newly == applied and told < deaths)
  if expires_at > tonumber(ARGV[4]) and is_older then
    return redis.status_reply('OK')
  end
end
redis.call('ZADD', base .. 'sessions:ends', ARGV[2], ARGV[1])
redis.call('HSET', base .. 'sessions', ARGV[1], ARGV[3])
return redis.status_reply('OK')
