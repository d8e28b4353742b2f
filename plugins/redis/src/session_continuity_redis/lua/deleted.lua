-- ARGV: token of a delete whose answer has arrived.
if not numbers() and redis.call('ZSCORE', key, '~' .. ARGV[1]) then redis.call('UNLINK', key) end
return {OK}
