-- ARGV: now, id, digest of the body that was read, the new body, its role, tokens gained.
local n = alive(ARGV[1])
if not n then return {MISSING} end
local score = redis.call('ZSCORE', key, '@' .. ARGV[2])
if not score then return {NO_MESSAGE} end
local place = score % PLACES
local current = body_at(place)
if redis.sha1hex(current) ~= ARGV[3] then return {CONFLICT, current} end
redis.call('ZREM', key, current)
redis.call('ZADD', key, place, ARGV[4], ARGV[5] * PLACES + place, '@' .. ARGV[2])
store({tokens = n.tokens + ARGV[6]})
return {OK}
