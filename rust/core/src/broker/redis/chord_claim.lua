-- Renews the claim on a chord, or gives it up because the body was sent.
--
-- KEYS  claim, then what is deleted when the body was sent
-- ARGV  token, lifetime in s of the claim or of the mark 'done'
-- Returns 1 if the claim was ours, else 0.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
if #KEYS == 1 then
  redis.call('EXPIRE', KEYS[1], ARGV[2])
else
  redis.call('DEL', unpack(KEYS, 2))
  redis.call('SET', KEYS[1], 'done', 'EX', ARGV[2])
end
return 1
