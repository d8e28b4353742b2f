-- ARGV: id, generation or '' to announce a session that is about to be created, a generation to be replaced by this
-- one whatever its age or '', facts.
-- Answers the generation, and whether it was written.
local row, known, facts = row_of(ARGV[1])
local generation = tonumber(ARGV[2])
if not generation then
  generation = microseconds()
  -- after a failover the clock may be behind the one that dated the row
  if row then return {math.max(generation, known + 1), 0} end
elseif row then
  if known >= generation and known ~= tonumber(ARGV[3]) then return {generation, 0} end
  remove(row, facts)
end
local batch = {0, string.format('f|%s|%.0f|%s', ARGV[1], generation, ARGV[4])}
for _, entry in ipairs(entries_of(ARGV[4])) do
  batch[#batch + 1] = 0
  batch[#batch + 1] = entry
end
in_pieces('ZADD', batch)
return {generation, 1}
