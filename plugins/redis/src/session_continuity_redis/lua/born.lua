-- ARGV: scope. Returns a number that no other session of this id has.
if not visible(ARGV[1]) then return {MISSING} end
return {OK, redis.call('ZSCORE', key, '#born') - NUMBERS}
