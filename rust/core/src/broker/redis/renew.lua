-- An owner says that it lives, and from time to time that it still holds what it holds.
--
-- KEYS  1 owners, 2 the owner's tags, 3 unacked_index
-- ARGV  1 owner, 2 lease in ms, 3 '1' to write the server's time to the index as well
-- Returns the owner's tags.
local time = redis.call('TIME')
redis.call('ZADD', KEYS[1], time[1] * 1000 + math.floor(time[2] / 1000) + tonumber(ARGV[2]), ARGV[1])
local tags = redis.call('SMEMBERS', KEYS[2])
if ARGV[3] == '1' then
  local now = string.format('%d.%06d', time[1], time[2])
  for _, tag in ipairs(tags) do
    -- XX: what Celery has restored meanwhile is not in the index, and must stay out.
    redis.call('ZADD', KEYS[3], 'XX', now, tag)
  end
end
return tags
