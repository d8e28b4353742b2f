-- ARGV: scope, age, token, milliseconds that the key outlives the session.
local n, reply = visible(ARGV[1]), known(ARGV[3], ARGV[2])
if reply then return reply end
if not n then return {MISSING} end
trace_messages(0, n.count)
-- UNLINK frees a large key in a background thread, while ZREMRANGEBYSCORE would block the server. So the few members
-- that stay are written again.
local kept = {}
for _, bounds in ipairs({{'-inf', '(1'}, {(LAST_ROLE + 1) * PLACES, '+inf'}}) do
  local found = redis.call('ZRANGEBYSCORE', key, bounds[1], bounds[2], 'WITHSCORES')
  for i = 1, #found, 2 do
    kept[#kept + 1], kept[#kept + 2] = found[i + 1], found[i]
  end
end
redis.call('UNLINK', key)
redis.call('ZADD', key, unpack(kept))
if n.expires then redis.call('PEXPIRE', key, n.expires - time_in(ARGV[1]) + ARGV[4]) end
store({count = 0, tokens = 0, last = 0})
trace(n.count, ARGV[3])
return {OK, n.count}
