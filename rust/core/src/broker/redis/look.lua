-- Looks for owners whose process has ended: nobody subscribes to their channels any more.
--
-- KEYS  1 owners, 2 those of them that subscribe, 3 the one that looks for all
-- ARGV  1 the caller, 2 what stands in front of an owner in its channel, 3 for how many ms the caller
--       looks for all, then the owners that were gone at an earlier look already: their leases end
-- Returns {1 if the caller looks for all, 0 if another one does, -1 where the server does not even
-- count the caller; how many owners there are; how many leases ended; the owners that are gone}.
local owners, subscribed, looker = KEYS[1], KEYS[2], KEYS[3]
local caller, prefix = ARGV[1], ARGV[2]
local PAGE = 1000

local function subscribers(owner)
  return redis.call('PUBSUB', 'NUMSUB', prefix .. owner)[2]
end

local count = redis.call('ZCARD', owners)
if subscribers(caller) == 0 then
  return { -1, count, 0, {} }
end
local other = redis.call('GET', looker)
if count < 2 or other and other ~= caller and subscribers(other) > 0 then
  return { 0, count, 0, {} }
end
if count == 2 and other ~= caller then
  -- The other one may have been alone, and look rarely for that reason.
  for _, owner in ipairs(redis.call('ZRANGE', owners, 0, -1)) do
    redis.pcall('PUBLISH', prefix .. owner, '')
  end
end
redis.call('SET', looker, caller, 'PX', ARGV[3])

local was_gone = {}
for at = 4, #ARGV do
  was_gone[ARGV[at]] = true
end
local ended, gone = 0, {}

local function note(owner)
  if not redis.call('ZSCORE', owners, owner) then
    redis.call('SREM', subscribed, owner)
  elseif was_gone[owner] then
    redis.call('ZADD', owners, 0, owner)
    ended = ended + 1
  else
    gone[#gone + 1] = owner
  end
end

local all = redis.call('SMEMBERS', subscribed)
for first = 1, #all, PAGE do
  local channels = {}
  for at = first, math.min(first + PAGE - 1, #all) do
    channels[#channels + 1] = prefix .. all[at]
  end
  local counts = redis.call('PUBSUB', 'NUMSUB', unpack(channels))
  for at = 1, #channels do
    if counts[2 * at] == 0 then
      note(all[first + at - 1])
    end
  end
end
return { 1, count, ended, gone }
