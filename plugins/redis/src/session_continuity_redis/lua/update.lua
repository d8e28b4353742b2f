-- ARGV: now, token, expected version or '', 1 if the change may concern the index, life of the key ('' leaves it, '-'
-- ends it), status, expires and limit (each '' leaves it, '-' clears it), then number and text of each field.
local n = alive(ARGV[1])
if not n then return {MISSING} end
if recall(ARGV[2]) then return {OK, document(n), n.generation, false} end
if ARGV[3] ~= '' and n.version ~= tonumber(ARGV[3]) then return {CONFLICT, document(n), n.version} end
local before = false
if ARGV[4] == '1' then
  before = document(n)
  n.generation = n.generation + 1
end
n.version = n.version + 1
store({version = n.version, generation = n.generation})
set_number('status', ARGV[6])
set_number('expires', ARGV[7])
set_number('limit', ARGV[8])
for i = 9, #ARGV, 2 do set_field(tonumber(ARGV[i]), ARGV[i + 1]) end
if ARGV[5] == '-' then
  redis.call('PERSIST', key)
elseif ARGV[5] ~= '' then
  redis.call('PEXPIRE', key, ARGV[5])
end
remember(n, ARGV[2], 1)
return {OK, document(numbers()), n.generation, before}
