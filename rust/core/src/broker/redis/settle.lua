-- Stores results and ends leases, in the order given. A stored SUCCESS is never overwritten, and a
-- lease ends only while it is the caller's.
--
-- KEYS  1 unacked, 2 unacked_index, 3 the owner's tags, 4 losses
-- ARGV  1 how many deliveries are acknowledged and no more, then their tags; then
--       for each other delivery: what becomes of it (ack, aside, back, or lost: back, and counted), tag,
--       key (aside: the stream; back, lost: the list), text (aside: what is said of it, packed; back,
--       lost: the envelope; ack: the field of its losses, '' for none), suffix (aside: what follows the
--       envelope in the record; lost: the field of its losses), then the result's key ('' for none),
--       lifetime in s ('' for ever) and document
-- Returns the tags of those whose lease was not the caller's any more.
local unacked, index, mine, losses = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local losses_kept_s = 2592000

local function is_success(key)
  local head = redis.call('GETRANGE', key, 0, 79)
  if head == '' then
    return false
  end
  local status = string.match(head, '^%s*{%s*"status"%s*:%s*"([^"]*)"')
  if status then
    return status == 'SUCCESS'
  end
  local document = redis.call('GET', key)
  local ok, value = pcall(cjson.decode, document)
  if not ok then
    ok, value = pcall(cmsgpack.unpack, document)
  end
  if ok and type(value) == 'table' then
    return value['status'] == 'SUCCESS'
  end
  -- Pickle and YAML write the status in clear near their beginning.
  return string.find(head, 'status', 1, true) ~= nil and string.find(head, 'SUCCESS', 1, true) ~= nil
end


local function put(key, lifetime, document)
  if key == '' or is_success(key) then
    return
  end
  if lifetime == '' then
    redis.call('SET', key, document)
  else
    redis.call('SETEX', key, lifetime, document)
  end
  redis.call('PUBLISH', key, document)
end

local function envelope_of(record, suffix)
  if string.sub(record, -#suffix) == suffix then
    return string.sub(record, 2, -#suffix - 1)
  end
  return record
end

-- Keeps a message: `text` is reason, worker, losses, and the field of those.
local function keep(stream, text, message)
  local note = cmsgpack.unpack(text)
  redis.call('XADD', stream, '*', 'reason', note[1], 'message', message, 'worker', note[2],
    'losses', note[3])
  if note[4] ~= '' then
    redis.call('HDEL', losses, note[4])
  end
end

-- Ends the lease of a message; 1 when it was ours.
local function release(verdict, tag, key, text, suffix)
  if redis.call('SREM', mine, tag) == 0 then
    return 0
  end
  if verdict == 'aside' then
    local record = redis.call('HGET', unacked, tag)
    if record then
      keep(key, text, envelope_of(record, suffix))
    end
  elseif verdict == 'ack' then
    if text ~= '' then
      redis.call('HDEL', losses, text)
    end
  elseif redis.call('HEXISTS', unacked, tag) == 1 then
    redis.call('RPUSH', key, text)
    if verdict == 'lost' and suffix ~= '' then
      redis.call('HINCRBY', losses, suffix, 1)
      redis.call('EXPIRE', losses, losses_kept_s)
    end
  end
  redis.call('ZREM', index, tag)
  redis.call('HDEL', unacked, tag)
  return 1
end

-- What was no message lies in the stream since it was reserved; only its reason can change.
local function revise(verdict, id, key, text)
  local entries = redis.call('XRANGE', key, id, id)
  if #entries == 0 or redis.call('XDEL', key, id) == 0 then
    return 0
  end
  if verdict == 'aside' then
    keep(key, text, entries[1][2][4])
  end
  return 1
end

local missed = {}

-- The same for many that are acknowledged and no more: a call for each costs more than all of it.
local function acknowledge(tags)
  local ours = {}
  local are_ours = redis.pcall('SMISMEMBER', mine, unpack(tags))
  for at, tag in ipairs(tags) do
    -- Before Redis 6.2 there is no such command: one call for each then.
    local is_ours = are_ours.err and redis.call('SISMEMBER', mine, tag) or are_ours[at]
    if is_ours == 1 then
      ours[#ours + 1] = tag
    else
      missed[#missed + 1] = tag
    end
  end
  if #ours > 0 then
    redis.call('SREM', mine, unpack(ours))
    redis.call('ZREM', index, unpack(ours))
    redis.call('HDEL', unacked, unpack(ours))
  end
end

local plain = tonumber(ARGV[1])
if plain > 0 then
  acknowledge({ unpack(ARGV, 2, plain + 1) })
end
for at = plain + 2, #ARGV, 8 do
  put(ARGV[at + 5], ARGV[at + 6], ARGV[at + 7])
  local verdict, tag = ARGV[at], ARGV[at + 1]
  local ended
  if string.sub(tag, 1, 6) == 'aside:' then
    ended = revise(verdict, string.sub(tag, 7), ARGV[at + 2], ARGV[at + 3])
  else
    ended = release(verdict, tag, ARGV[at + 2], ARGV[at + 3], ARGV[at + 4])
  end
  if ended == 0 then
    missed[#missed + 1] = tag
  end
end
return missed
