-- ARGV: scope, age, token, id, digest of the body that was read, the new body, its role, the difference in tokens.
local n, reply = visible(ARGV[1]), known(ARGV[3], ARGV[2])
if reply then return reply end
if not n then return {MISSING} end
local score = redis.call('ZSCORE', key, '@' .. ARGV[4])
if not score then return {NO_MESSAGE} end
local place = score % PLACES
local current = body_at(place)
if redis.sha1hex(current) ~= ARGV[5] then return {CONFLICT, current} end
-- A sorted set has no way to replace a member: the body is removed and the new one added at the same place.
redis.call('ZREM', key, current)
redis.call('ZADD', key, place, ARGV[6], ARGV[7] * PLACES + place, '@' .. ARGV[4])
store({tokens = n.tokens + ARGV[8]})
trace(1, ARGV[3])
return {OK}
