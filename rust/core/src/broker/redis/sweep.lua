-- Moves messages that nobody of us owns and whose visibility timeout has passed to the caller.
--
-- KEYS  1 unacked, 2 unacked_index, 3 the caller's tags, 4 owners, 5 unacked_mutex
-- ARGV  1 what stands in front of an owner's key, 2 most messages, 3 the lock's value,
--       4 its life in ms, 5 the visibility timeout in s, 6 what stands in front of a queue's sorted
--       set of what is delayed, 7 what stands in front of the name of a delayed message
-- Returns {tag, record, ...}; nothing while somebody else sweeps. The lock is the caller's to drop.
local unacked, index, mine, owners = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
if not redis.call('SET', KEYS[5], ARGV[3], 'NX', 'PX', ARGV[4]) then
  return {}
end
local time = redis.call('TIME')
local now = string.format('%d.%06d', time[1], time[2])
local due = string.format('%.6f', time[1] + time[2] / 1000000 - tonumber(ARGV[5]))
local all_owners = redis.call('ZRANGE', owners, 0, -1)

local function is_owned(tag)
  for _, owner in ipairs(all_owners) do
    if redis.call('SISMEMBER', ARGV[1] .. owner, tag) == 1 then
      return true
    end
  end
  return false
end

-- What is delayed in <queue> is named <prefix><a fresh id without a dot>.<queue>. Who sweeps it
-- takes it out of the sorted set, so that nobody else finds it there.
local function forget_due(tag)
  if string.sub(tag, 1, #ARGV[7]) == ARGV[7] then
    local queue = string.match(tag, '^[^.]*%.(.*)$', #ARGV[7] + 1)
    if queue then
      redis.call('ZREM', ARGV[6] .. queue, tag)
    end
  end
end

local found = {}
for _, tag in ipairs(redis.call('ZRANGEBYSCORE', index, '-inf', due, 'LIMIT', 0, ARGV[2])) do
  if not is_owned(tag) then
    forget_due(tag)
    local record = redis.call('HGET', unacked, tag)
    if record then
      redis.call('SADD', mine, tag)
      redis.call('ZADD', index, now, tag)
      found[#found + 1] = tag
      found[#found + 1] = record
    else
      redis.call('ZREM', index, tag)
    end
  end
end
return found
