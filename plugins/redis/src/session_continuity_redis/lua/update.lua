-- KEYS: session, and the index if it is on the same server. ARGV: scope, age, token, expected version or '',
-- then the arguments of change_session.
-- Returns the session, its generation, and 1 if the index has to be written.
local n, reply = visible(ARGV[1]), known(ARGV[3], ARGV[2])
if reply and (reply[1] == UNKNOWN or reply[3] == 1 or not n) then return {UNKNOWN} end
if reply then return {OK, document(n), n.generation, 0} end
if not n then return {MISSING} end
if ARGV[4] ~= '' and n.version ~= tonumber(ARGV[4]) then return {CONFLICT, document(n), n.version} end
-- The reply has the whole session. A call that cannot read it must not have changed it.
if not pcall(cjson.decode, document(n)) then error('UNREADABLE') end
local is_behind = change_session(n, slice(5))
trace(1, ARGV[3])
return {OK, document(numbers()), n.generation, is_behind}
