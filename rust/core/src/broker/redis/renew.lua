-- An owner says that it lives.
--
-- KEYS  1 owners
-- ARGV  1 owner, 2 lease in ms
local time = redis.call('TIME')
return redis.call('ZADD', KEYS[1], time[1] * 1000 + math.floor(time[2] / 1000) + tonumber(ARGV[2]), ARGV[1])
