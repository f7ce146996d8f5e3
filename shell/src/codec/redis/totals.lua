-- Counts the messages that wait and the dead letters.
return { redis.call('ZCARD', KEYS[1] .. 'expiry'), redis.call('ZCARD', KEYS[1] .. 'dead') }
