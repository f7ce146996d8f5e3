-- Keeps a session, unless the one that is kept has not expired and more has been applied to it.
-- ARGV: id, the score of its end, the session, the time now.
local base = KEYS[1]
local kept = redis.call('HGET', base .. 'sessions', ARGV[1])
if kept then
  local expires_at, applied = struct.unpack('>I8I8', kept)
  local _, newly = struct.unpack('>I8I8', ARGV[3])
  if expires_at > tonumber(ARGV[4]) and applied > newly then
    return redis.status_reply('OK')
  end
end
redis.call('ZADD', base .. 'sessions:ends', ARGV[2], ARGV[1])
redis.call('HSET', base .. 'sessions', ARGV[1], ARGV[3])
return redis.status_reply('OK')
