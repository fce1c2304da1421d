-- Puts a message that was set aside back, behind what waits.
--
-- KEYS  1 the stream, 2 the list
-- ARGV  1 the entry's id
-- Returns 1, or 0 when it is not there any more.
local entries = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])
if #entries == 0 then
  return 0
end
redis.call('LPUSH', KEYS[2], entries[1][2][4])
redis.call('XDEL', KEYS[1], ARGV[1])
return 1
