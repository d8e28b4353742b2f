-- KEYS: session, and the index if it is on the same server. ARGV: scope, whose time is '' or that by which
-- the session must have expired, age, token, escaped id, the age in microseconds from which the row of a missing session
-- may be forgotten, expected version or ''.
-- Returns its generation, or whether the index had a row of a missing session.
local n, reply = numbers(), known(ARGV[3], ARGV[2])
if reply then
  reply[4] = redis.call('ZSCORE', key, '#generation')  -- of the deleted session, or of the one that took its id
  return reply
end
if not n then return {MISSING, KEYS[2] and forget(ARGV[4], microseconds() - ARGV[5]) or 0} end
if is_hidden(ARGV[1]) or time_in(ARGV[1]) and not is_past(n, ARGV[1]) then return {KEPT} end
if ARGV[6] ~= '' and n.version ~= tonumber(ARGV[6]) then return {CONFLICT, document(n), n.version} end
trace_messages(0, n.count or 0)
trace(1, ARGV[3])
local kept, forgotten = traces(TRACES), redis.call('ZSCORE', key, '#forgotten')
redis.call('UNLINK', key)
-- A key without a status is not a session.
for i = 1, #kept, 2 do redis.call('ZADD', key, kept[i + 1], kept[i]) end
if forgotten then redis.call('ZADD', key, forgotten, '#forgotten') end
n.generation = n.generation or 0  -- damaged
store({generation = n.generation})
redis.call('PEXPIRE', key, 60000)
if KEYS[2] then forget(ARGV[4], n.generation) end
return {OK, n.generation}
