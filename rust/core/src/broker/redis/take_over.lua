-- Moves leases of owners whose deadline has passed to the caller.
--
-- KEYS  1 unacked, 2 unacked_index, 3 the caller's tags, 4 owners, 5 those of them that subscribe
-- ARGV  1 what stands in front of an owner's key, 2 most leases, 3 the caller
-- Returns {tag, record, ...}.
local unacked, index, mine, owners = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local room = tonumber(ARGV[2])
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local now = string.format('%d.%06d', time[1], time[2])
local found = {}

for _, owner in ipairs(redis.call('ZRANGEBYSCORE', owners, '-inf', now_ms)) do
  if owner ~= ARGV[3] then
    local theirs = ARGV[1] .. owner
    while room > 0 do
      local tag = redis.call('SPOP', theirs)
      if not tag then
        break
      end
      local record = redis.call('HGET', unacked, tag)
      if record then
        redis.call('SADD', mine, tag)
        redis.call('ZADD', index, now, tag)
        found[#found + 1] = tag
        found[#found + 1] = record
        room = room - 1
      end
    end
    if redis.call('EXISTS', theirs) == 0 then
      redis.call('ZREM', owners, owner)
      redis.call('SREM', KEYS[5], owner)
    end
  end
end
return found
