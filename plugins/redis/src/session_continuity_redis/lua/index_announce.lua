-- ARGV: id, facts of a session to create or '' before a change.
-- Returns a generation, by which the intent is withdrawn, and 1 if the entries of the new session were written. Otherwise
-- an intent was.
local row, known = row_of(ARGV[1])
local generation = math.max(microseconds(), row and known + 1 or 0)
if ARGV[2] ~= '' and not row then
  write(ARGV[1], generation, ARGV[2])
  return {generation, 1}
end
redis.call('ZADD', index, 0, string.format('p|%s|%.0f', ARGV[1], generation))
return {generation, 0}
