-- ARGV: now, token, id.
local n = alive(ARGV[1])
if not n then return {MISSING} end
local answer = recall(ARGV[2])
if answer then return {OK, answer} end
local score = redis.call('ZSCORE', key, '@' .. ARGV[3])
if not score then return {OK, 0} end
local body = body_at(score % PLACES)
redis.call('ZREM', key, body, '@' .. ARGV[3])
local newest = redis.call('ZREVRANGEBYSCORE', key, PLACES - 1, 1, 'LIMIT', 0, 1)[1]
store({count = n.count - 1, tokens = n.tokens - (body:match('^"token_count":(%d+)', 42) or 0),
  last = newest and created_of(newest) or 0})
remember(n, ARGV[2], 1)
return {OK, 1}
