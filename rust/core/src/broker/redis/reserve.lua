-- Moves messages from their lists into the record of what is in flight, atomically.
--
-- It declares no keys: Redis 7.0 rings for all keys of a script that reads any, see doorbell.rs.
-- ARGV  1 owner, 2 lease in ms, 3 room, 4 a fresh name for messages without a usable tag,
--       5 number of queues, 6 whether the caller waits here when it finds nothing ('1'), 7 what
--       stands in front of an owner in the key that wakes it, 8 unacked, 9 unacked_index, 10 the
--       owner's tags, 11 owners; then for each queue (in the order of this turn) what follows the
--       envelope in its record, then for each its stream of what is set aside, its sorted set of
--       what is delayed, who is armed, who is idle, then the lists: for each priority step all queues
-- Returns {the server's time in ms, for each queue whether a message wakes the caller (1) if it found
-- nothing and waits, {tag, index of the queue from 0, item, ...}}. A tag "aside:<id>" says that the
-- item is no message, and lies in the stream already.
-- Of all that wait for a queue only a few are armed, that is, read its lists now, so that a message
-- wakes them; the others are idle until one of those leaves its place to them.
local owner, lease_ms, room, fresh = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local queues = tonumber(ARGV[5])
local waits, wake_prefix = ARGV[6] == '1', ARGV[7]
local unacked, index, mine, owners = ARGV[8], ARGV[9], ARGV[10], ARGV[11]
local first_suffix = 12
local first_aside = first_suffix + queues
local first_delayed = first_aside + queues
local first_armed = first_delayed + queues
local first_idle = first_armed + queues
local first_list = first_idle + queues
local steps = (#ARGV - 11 - 5 * queues) / queues
local MOST_ARMED, FEWEST_ARMED = 3, 2
-- Who has not looked again for so long does not count any more.
local ARMED_US, IDLE_MS, WAKE_MS = 9000000, 60000, 5000

local found, scores, tags = {}, {}, {}
local time = redis.call('TIME')
local now = string.format('%d.%06d', time[1], time[2])
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local now_us = time[1] * 1000000 + time[2]
local LONG = string.rep('-', 65)
local generated = 0

local function generate()
  generated = generated + 1
  return fresh .. '-' .. generated
end

-- The delivery tag, nil when there is none, and whether the item is an object with headers and
-- properties, as a restore of Celery's needs it.
local function read(item)
  local tag = string.match(string.sub(item, -80), '"delivery_tag": "([^"\\]+)"}}$')
  if tag and string.sub(item, 1, 1) == '{' then
    return tag, true
  end
  local ok, message = pcall(cjson.decode, item)
  if not ok or type(message) ~= 'table' then
    return nil, false
  end
  local properties = message['properties']
  if type(properties) ~= 'table' or type(message['headers']) ~= 'table' then
    return nil, false
  end
  tag = properties['delivery_tag']
  if type(tag) == 'number' then
    tag = string.format('%.17g', tag)
  end
  if type(tag) ~= 'string' or tag == '' or string.sub(tag, 1, 6) == 'aside:' then
    tag = nil
  end
  return tag, true
end

local function take(item, queue)
  local tag, is_message = read(item)
  if not is_message then
    local id = redis.call('XADD', ARGV[first_aside + queue], '*', 'reason', 'not a message', 'message', item)
    tag = 'aside:' .. id
  else
    local record = '[' .. item .. ARGV[first_suffix + queue]
    -- HSETNX, not HEXISTS: a read would make us hear of every change of the record.
    if not tag or redis.call('HSETNX', unacked, tag, record) == 0 then
      tag = generate()
      redis.call('HSET', unacked, tag, record)
    end
    scores[#scores + 1] = now
    scores[#scores + 1] = tag
    tags[#tags + 1] = tag
  end
  found[#found + 1] = tag
  found[#found + 1] = queue
  found[#found + 1] = item
  room = room - 1
end

local took_due = false

-- Takes what is due: it lies in the record already. What is not there any more was restored by
-- Celery, and comes from its list.
local function take_due(queue)
  local delayed, suffix = ARGV[first_delayed + queue], ARGV[first_suffix + queue]
  for _, tag in ipairs(redis.call('ZRANGEBYSCORE', delayed, '-inf', now_ms, 'LIMIT', 0, room)) do
    redis.call('ZREM', delayed, tag)
    took_due = true
    local record = redis.call('HGET', unacked, tag)
    if record then
      scores[#scores + 1] = now
      scores[#scores + 1] = tag
      tags[#tags + 1] = tag
      found[#found + 1] = tag
      found[#found + 1] = queue
      found[#found + 1] = string.sub(record, 2, -#suffix - 1)
      room = room - 1
    end
  end
end

for queue = 0, queues - 1 do
  if room > 0 then
    take_due(queue)
  end
end

-- From the only queue all at once; nil where the server cannot do that yet (before 6.2).
local function take_many(list)
  local items = redis.pcall('RPOP', list, room)
  if type(items) == 'table' and items.err then
    return nil
  end
  for _, item in ipairs(items or {}) do
    take(item, 0)
  end
  return true
end

for step = 0, steps - 1 do
  local busy = true
  if queues == 1 and room > 0 and take_many(ARGV[first_list + step]) then
    busy = false
  end
  while busy and room > 0 do
    busy = false
    for queue = 0, queues - 1 do
      if room > 0 then
        local item = redis.call('RPOP', ARGV[first_list + step * queues + queue])
        if item then
          take(item, queue)
          busy = true
        end
      end
    end
  end
end

if #tags > 0 then
  if #tags > 16 then
    -- A name of more than 64 bytes makes it a skip list. As a list, which Redis prefers for few entries,
    -- each addition reads all scores: several microseconds a message.
    redis.call('ZADD', index, 'inf', LONG)
    redis.call('ZADD', index, unpack(scores))
    redis.call('ZREM', index, LONG)
  else
    redis.call('ZADD', index, unpack(scores))
  end
  redis.call('SADD', mine, unpack(tags))
  redis.call('ZADD', owners, now_ms + lease_ms, owner)
end
-- Nothing below reads a key that others change: since Redis 7.2 what a script reads rings, too.
local function wake_next(queue)
  local idle = ARGV[first_idle + queue]
  redis.call('ZREMRANGEBYSCORE', idle, '-inf', now_ms)
  local next = redis.call('ZPOPMIN', idle)[1]
  if next then
    redis.call('SET', wake_prefix .. next, '1', 'PX', WAKE_MS)
  end
end

-- Who has found something leaves its place, to another one where too few are left.
local function leave(queue)
  local armed = ARGV[first_armed + queue]
  local has_left = redis.call('ZREM', armed, owner) == 1
  redis.call('ZREM', ARGV[first_idle + queue], owner)
  -- A union with nothing says how many there are, and is no read.
  if has_left and redis.call('ZUNIONSTORE', armed, 1, armed) < FEWEST_ARMED then
    wake_next(queue)
  end
end

local function arm(queue)
  local armed, idle = ARGV[first_armed + queue], ARGV[first_idle + queue]
  redis.call('ZREMRANGEBYSCORE', armed, '-inf', now_us)
  redis.call('ZADD', armed, now_us + ARMED_US, owner)
  -- The one that counts longest is the last that came: it has a place, or is the one too many.
  if redis.call('ZREMRANGEBYRANK', armed, MOST_ARMED, -1) == 0 then
    redis.call('ZREM', idle, owner)
    return true
  end
  redis.call('ZADD', idle, now_ms + IDLE_MS, owner)
  return false
end

-- Whether the queue has more than there was room for, as far as can be told.
local function has_more(queue)
  if room > 0 then
    return false
  end
  for step = 0, steps - 1 do
    local list = ARGV[first_list + step * queues + queue]
    -- To its own name, which it has: an error where it is not there, and no read.
    local done = redis.pcall('RENAMENX', list, list)
    if type(done) ~= 'table' or not string.find(done.err, 'no such key', 1, true) then
      return true
    end
  end
  return took_due
end

local armed = {}
if #found > 0 then
  for queue = 0, queues - 1 do
    if waits then
      leave(queue)
    end
    if has_more(queue) then
      wake_next(queue)
    end
  end
elseif waits then
  -- A key that is there after this was written after this.
  redis.call('DEL', wake_prefix .. owner)
  for queue = 0, queues - 1 do
    armed[queue + 1] = arm(queue) and 1 or 0
  end
end
return { now_ms, armed, found }
