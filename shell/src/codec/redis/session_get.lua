-- Reads a session. ARGV: id.
return redis.call('HGET', KEYS[1] .. 'sessions', ARGV[1])
