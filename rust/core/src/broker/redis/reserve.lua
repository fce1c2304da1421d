-- Moves messages from their lists into the record of what is in flight, atomically.
--
-- KEYS  1 unacked, 2 unacked_index, 3 the owner's tags, 4 owners, then for each queue (in the
--       order of this turn) its stream of what is set aside, then for each its sorted set of what
--       is delayed, then the lists: for each priority step all queues
-- ARGV  1 owner, 2 lease in ms, 3 room, 4 a fresh name for messages without a usable tag,
--       5 number of queues, then for each queue what follows the envelope in its record
-- Returns {how long nothing that is delayed is due in ms (-1: nothing is delayed; 0: nobody asked),
-- {tag, index of the queue from 0, item, ...}}. A tag "aside:<id>" says that the item is no message,
-- and lies in the stream already.
local unacked, index, mine, owners = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local owner, lease_ms, room, fresh = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local queues = tonumber(ARGV[5])
local first_delayed = 5 + queues
local first_list = first_delayed + queues
local steps = (#KEYS - 4 - 2 * queues) / queues

local found, scores, tags = {}, {}, {}
local time = redis.call('TIME')
local now = string.format('%d.%06d', time[1], time[2])
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
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
    local id = redis.call('XADD', KEYS[5 + queue], '*', 'reason', 'not a message', 'message', item)
    tag = 'aside:' .. id
  else
    local record = '[' .. item .. ARGV[6 + queue]
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

-- Takes what is due: it lies in the record already. What is not there any more was restored by
-- Celery, and comes from its list.
local function take_due(queue)
  local delayed, suffix = KEYS[first_delayed + queue], ARGV[6 + queue]
  for _, tag in ipairs(redis.call('ZRANGEBYSCORE', delayed, '-inf', now_ms, 'LIMIT', 0, room)) do
    redis.call('ZREM', delayed, tag)
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

for step = 0, steps - 1 do
  local busy = true
  while busy and room > 0 do
    busy = false
    for queue = 0, queues - 1 do
      if room > 0 then
        local item = redis.call('RPOP', KEYS[first_list + step * queues + queue])
        if item then
          take(item, queue)
          busy = true
        end
      end
    end
  end
end

if #tags > 0 then
  redis.call('ZADD', index, unpack(scores))
  redis.call('SADD', mine, unpack(tags))
  redis.call('ZADD', owners, now_ms + lease_ms, owner)
end
local wait_ms = 0
if #found == 0 then
  wait_ms = -1
  for queue = 0, queues - 1 do
    local first = redis.call('ZRANGE', KEYS[first_delayed + queue], 0, 0, 'WITHSCORES')
    if first[2] and (wait_ms < 0 or tonumber(first[2]) - now_ms < wait_ms) then
      wait_ms = math.max(tonumber(first[2]) - now_ms, 0)
    end
  end
  -- Having read that the lists are empty is what makes the next LPUSH ring.
  for list = first_list, #KEYS do
    redis.call('LLEN', KEYS[list])
  end
end
return { wait_ms, found }
