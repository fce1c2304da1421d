-- Counts a part of a chord, once; who brings the last one gets all of them and the claim.
--
-- KEYS  parts, size, added, seen, claim
-- ARGV  identity, content, position ('' for none), '1' if ordered, lifetime in s (0 for ever),
--       claim in s, token
-- Returns {'done'}, {'open'}, {'taken'}, or {'complete', part, ...}.
local parts, size, added, seen, claim = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
if redis.call('GET', claim) == 'done' then
  return { 'done' }
end
local is_ordered = ARGV[4] == '1'
if redis.call('SADD', seen, ARGV[1]) == 1 then
  if is_ordered then
    redis.call('ZADD', parts, ARGV[3] == '' and '+inf' or ARGV[3], ARGV[2])
  else
    redis.call('RPUSH', parts, ARGV[2])
  end
end
local lifetime = tonumber(ARGV[5])
if lifetime > 0 then
  for _, key in ipairs({ parts, size, added, seen }) do
    redis.call('EXPIRE', key, lifetime)
  end
end
local wanted = tonumber(redis.call('GET', size) or '')
if not wanted then
  return { 'open' }
end
wanted = wanted + tonumber(redis.call('GET', added) or '0')
local count = is_ordered and redis.call('ZCARD', parts) or redis.call('LLEN', parts)
if count < wanted then
  return { 'open' }
end
if not redis.call('SET', claim, ARGV[7], 'NX', 'EX', ARGV[6]) then
  return { 'taken' }
end
local all = redis.call(is_ordered and 'ZRANGE' or 'LRANGE', parts, 0, -1)
table.insert(all, 1, 'complete')
return all
