-- ARGV: now, token, milliseconds that the key outlives the session.
local n = alive(ARGV[1])
if not n then return {MISSING} end
local answer = recall(ARGV[2])
if answer then return {OK, answer} end
-- The few members that stay are written anew, so that the server frees the many that go in a thread of its own.
local kept = {}
for _, bounds in ipairs({{'-inf', '(1'}, {(LAST_ROLE + 1) * PLACES, '+inf'}}) do
  local found = redis.call('ZRANGEBYSCORE', key, bounds[1], bounds[2], 'WITHSCORES')
  for i = 1, #found, 2 do
    kept[#kept + 1], kept[#kept + 2] = found[i + 1], found[i]
  end
end
redis.call('UNLINK', key)
redis.call('ZADD', key, unpack(kept))
if n.expires then redis.call('PEXPIRE', key, n.expires - ARGV[1] + ARGV[3]) end
store({count = 0, tokens = 0, last = 0})
remember(n, ARGV[2], n.count)
return {OK, n.count}
