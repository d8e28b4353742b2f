-- ARGV: '', or the moment by which the session must have expired; token.
local n = numbers()
if not n then
  local generation = redis.call('ZSCORE', key, '~' .. ARGV[2])
  if generation then return {OK, tonumber(generation)} end
  return {MISSING}
end
if ARGV[1] ~= '' and not (n.expires and n.expires <= tonumber(ARGV[1])) then return {KEPT} end
redis.call('UNLINK', key)
-- until the answer has arrived, the token tells a delete that is sent again what it did; without numbers it is no session
redis.call('ZADD', key, n.generation, '~' .. ARGV[2])
redis.call('PEXPIRE', key, 60000)
return {OK, n.generation}
