-- A page of what an owner holds is written to the index anew, so that Celery does not restore it. All
-- at once would keep everybody else waiting: a worker may hold a million.
--
-- KEYS  1 the owner's tags, 2 unacked_index
-- ARGV  1 where to go on ('0' at first), 2 about how many, 3 '1' to return the tags
-- Returns {where to go on ('0' at the end), {tag, ...}}.
local time = redis.call('TIME')
local now = string.format('%d.%06d', time[1], time[2])
local page = redis.call('SSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])
for _, tag in ipairs(page[2]) do
  -- XX: what Celery has restored meanwhile is not in the index, and must stay out.
  redis.call('ZADD', KEYS[2], 'XX', now, tag)
end
if ARGV[3] ~= '1' then
  page[2] = {}
end
return page
