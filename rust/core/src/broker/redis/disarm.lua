-- Takes an owner off the lists of those that wait, and lets others take its places.
--
-- KEYS  for each queue who is armed, then for each who is idle
-- ARGV  1 owner, 2 what stands in front of an owner in the key that wakes it
local queues = #KEYS / 2
for queue = 1, queues do
  local armed, idle = KEYS[queue], KEYS[queues + queue]
  redis.call('ZREM', idle, ARGV[1])
  if redis.call('ZREM', armed, ARGV[1]) == 1 then
    local next = redis.call('ZPOPMIN', idle)[1]
    if next then
      redis.call('SET', ARGV[2] .. next, '1', 'PX', 5000)
    end
  end
end
return queues
