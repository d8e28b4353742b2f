-- ARGV: scope, id.
if not visible(ARGV[1]) then return {MISSING} end
local score = redis.call('ZSCORE', key, '@' .. ARGV[2])
return {OK, score and body_at(score % PLACES)}
