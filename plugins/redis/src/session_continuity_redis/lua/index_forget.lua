-- ARGV: id, newest generation to forget, or '' and the age in microseconds that the row must have reached.
local row, known, facts = row_of(ARGV[1])
if not row then return 0 end
if ARGV[2] ~= '' and known > tonumber(ARGV[2]) then return 0 end
if ARGV[2] == '' and known > microseconds() - ARGV[3] then return 0 end
remove(row, facts)
return 1
