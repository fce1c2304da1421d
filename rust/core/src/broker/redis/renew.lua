-- An owner says that it lives.
--
-- KEYS  1 owners, 2 those of them that subscribe
-- ARGV  1 owner, 2 lease in ms, 3 '1' if it subscribes, so that others see its process end
if ARGV[3] == '1' then
  redis.call('SADD', KEYS[2], ARGV[1])
else
  redis.call('SREM', KEYS[2], ARGV[1])
end
local time = redis.call('TIME')
return redis.call('ZADD', KEYS[1], time[1] * 1000 + math.floor(time[2] / 1000) + tonumber(ARGV[2]), ARGV[1])
