-- ARGV: '', or the moment by which the session must have expired.
local n = numbers()
if not n then return {MISSING} end
if ARGV[1] ~= '' and not (n.expires and n.expires <= tonumber(ARGV[1])) then return {KEPT} end
redis.call('UNLINK', key)
return {OK, n.generation}
