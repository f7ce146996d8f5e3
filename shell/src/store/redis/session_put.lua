-- Keeps a session. ARGV: id, the score of its end, the session.
local base = KEYS[1]
redis.call('HLEN', base .. 'sessions')
redis.call('ZADD', base .. 'sessions:ends', ARGV[2], ARGV[1])
redis.call('HSET', base .. 'sessions', ARGV[1], ARGV[3])
return redis.status_reply('OK')
