-- ARGV: id, newest generation to forget or '', age in microseconds that it must have reached.
local row, known, facts = row_of(ARGV[1])
if not row or (ARGV[2] ~= '' and known > tonumber(ARGV[2])) or known > microseconds() - ARGV[3] then return 0 end
remove(row, facts)
return 1
