-- ARGV: id, and the newest generation to forget, or '' and the age in microseconds from which the row may be forgotten.
-- Returns 1 if there was a row. A generation is a time in microseconds, or counts on from one.
if ARGV[2] ~= '' then return forget(ARGV[1], tonumber(ARGV[2])) end
local oldest = microseconds() - ARGV[3]
for _, intent in ipairs(intents_of(ARGV[1])) do
  if tonumber(intent:match('%d+$')) < oldest then redis.call('ZREM', index, intent) end
end
return forget(ARGV[1], oldest)
