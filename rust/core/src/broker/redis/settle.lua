-- Stores results and ends leases, in the order given. A stored SUCCESS is never overwritten, and a
-- lease ends only while it is the caller's.
--
-- KEYS  1 unacked, 2 unacked_index, 3 the owner's tags
-- ARGV  for each delivery: what becomes of it (ack, aside or back), tag, key (aside: the stream;
--       back: the list), text (aside: the reason; back: the envelope; both for a tag "aside:<id>"),
--       what follows the envelope in the record, then the result's key ('' for none), lifetime in
--       s ('' for ever) and document
-- Returns how many leases ended.
local unacked, index, mine = KEYS[1], KEYS[2], KEYS[3]

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

-- Ends the lease of a message; 1 when it was ours.
local function release(verdict, tag, key, text, suffix)
  if redis.call('SREM', mine, tag) == 0 then
    return 0
  end
  if verdict == 'aside' then
    local record = redis.call('HGET', unacked, tag)
    if record then
      redis.call('XADD', key, '*', 'reason', text, 'message', envelope_of(record, suffix))
    end
  elseif verdict == 'back' and redis.call('HEXISTS', unacked, tag) == 1 then
    redis.call('RPUSH', key, text)
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
    redis.call('XADD', key, '*', 'reason', text, 'message', entries[1][2][4])
  end
  return 1
end

local ended = 0
for at = 1, #ARGV, 8 do
  put(ARGV[at + 5], ARGV[at + 6], ARGV[at + 7])
  local verdict, tag = ARGV[at], ARGV[at + 1]
  if string.sub(tag, 1, 6) == 'aside:' then
    ended = ended + revise(verdict, string.sub(tag, 7), ARGV[at + 2], ARGV[at + 3])
  else
    ended = ended + release(verdict, tag, ARGV[at + 2], ARGV[at + 3], ARGV[at + 4])
  end
end
return ended
