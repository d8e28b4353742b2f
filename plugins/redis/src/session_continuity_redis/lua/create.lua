-- ARGV: now, generation, life of the key or '', last activity, version, status, expires and limit (or '-'), then
-- number and text of each field.
local existing = numbers()
if existing and alive(ARGV[1]) then return {EXISTS, document(existing), existing.generation} end
redis.call('UNLINK', key)  -- what an expired session left, or a delete
store({generation = ARGV[2], activity = packed(ARGV[4]), version = ARGV[5], status = ARGV[6], count = 0, tokens = 0,
  next = 0, last = 0, writes = 0})
set_number('expires', ARGV[7])
set_number('limit', ARGV[8])
for i = 9, #ARGV, 2 do set_field(tonumber(ARGV[i]), ARGV[i + 1]) end
if ARGV[3] ~= '' then redis.call('PEXPIRE', key, ARGV[3]) end
return {OK}
