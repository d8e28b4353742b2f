-- ARGV: scope, age, token, id.
local n, reply = visible(ARGV[1]), known(ARGV[3], ARGV[2])
if reply then return reply end
if not n then return {MISSING} end
local score = redis.call('ZSCORE', key, '@' .. ARGV[4])
if not score then return {OK, 0} end
local body = body_at(score % PLACES) or ''
redis.call('ZREM', key, body, '@' .. ARGV[4])
store({count = n.count - 1, tokens = n.tokens - tokens_of(body), last = last_time(PLACES - 1)})
trace(1, ARGV[3], '@' .. ARGV[4])
return {OK, 1}
