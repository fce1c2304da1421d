-- Stores results and publishes them. A stored SUCCESS is never overwritten.
--
-- ARGV  for each result: key, lifetime in s ('' for ever), document
-- Returns how many were stored.
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

local stored = 0
for at = 1, #ARGV, 3 do
  local key, lifetime, document = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  if not is_success(key) then
    if lifetime == '' then
      redis.call('SET', key, document)
    else
      redis.call('SETEX', key, lifetime, document)
    end
    redis.call('PUBLISH', key, document)
    stored = stored + 1
  end
end
return stored
