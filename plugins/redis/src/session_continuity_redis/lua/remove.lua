-- ARGV: now, age, token, id.
local n, reply = alive(ARGV[1]), known(ARGV[3], ARGV[2])
if reply then return reply end
if not n then return {MISSING} end
local score = redis.call('ZSCORE', key, '@' .. ARGV[4])
if not score then return {OK, 0} end
local body = body_at(score % PLACES)
redis.call('ZREM', key, body, '@' .. ARGV[4])
local newest = redis.call('ZREVRANGEBYSCORE', key, PLACES - 1, 1, 'LIMIT', 0, 1)[1]
-- The tokens stand at column 42 of every body. A count of null does not match.
store({count = n.count - 1, tokens = n.tokens - (body:match('^"token_count":(%d+)', 42) or 0),
  last = newest and created_of(newest) or 0})
trace(1, ARGV[3], '@' .. ARGV[4])
return {OK, 1}
