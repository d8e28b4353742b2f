-- ARGV: now, token.
local n = alive(ARGV[1])
if not n then return {MISSING} end
local answer = recall(ARGV[2])
if answer then return {OK, answer} end
redis.call('ZREMRANGEBYSCORE', key, 1, (LAST_ROLE + 1) * PLACES - 1)
store({count = 0, tokens = 0, last = 0})
remember(n, ARGV[2], n.count)
return {OK, n.count}
