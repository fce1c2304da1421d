-- Hands leased messages to the delayed store: they stay in the record of what is in flight, under a
-- name of ours, and a sorted set says when they are due.
--
-- Celery restores from the record by the index: whose score lies in the future it leaves alone, so
-- a message comes back to its queue one visibility timeout after it was handed over, or when it is
-- due, whichever is later, even if nobody but Celery is left.
--
-- KEYS  1 unacked, 2 unacked_index, 3 the owner's tags
-- ARGV  1 the visibility timeout in s, then for each message: its tag, its new name, the sorted set
--       of its queue, how long it waits in ms
-- Returns how many leases ended.
local unacked, index, mine = KEYS[1], KEYS[2], KEYS[3]
local visibility_s = tonumber(ARGV[1])
local time = redis.call('TIME')
local now_s = time[1] + time[2] / 1000000
local ended = 0

for at = 2, #ARGV, 4 do
  local tag, name, delayed, wait_ms = ARGV[at], ARGV[at + 1], ARGV[at + 2], tonumber(ARGV[at + 3])
  if redis.call('SREM', mine, tag) == 1 then
    local record = redis.call('HGET', unacked, tag)
    redis.call('HDEL', unacked, tag)
    redis.call('ZREM', index, tag)
    if record then
      local due_s = now_s + wait_ms / 1000
      redis.call('HSET', unacked, name, record)
      redis.call('ZADD', index, string.format('%.6f', math.max(now_s, due_s - visibility_s)), name)
      redis.call('ZADD', delayed, string.format('%.0f', math.ceil(due_s * 1000)), name)
    end
    ended = ended + 1
  end
end
return ended
