-- KEYS: the new session, its source, and the index. ARGV: scope, age, token, '=' and the id of the last message
-- to copy or '' for all, the source's escaped id, the piece of a body that names the source and the one that names the new
-- session, then the arguments of create_session.
-- Returns the new session, or the existing one.
local existing, reply = numbers(), known(ARGV[3], ARGV[2])
local is_there = existing and alive(ARGV[1])
if reply then return is_there and reply[3] == 0 and {DONE, document(existing)} or {UNKNOWN} end

key = KEYS[2]
local source = visible(ARGV[1])
if not source then return {MISSING} end
local place = place_of(source, ARGV[4])
if not place then return {NO_MESSAGE} end
if is_there then
  key = KEYS[1]
  return {EXISTS, document(existing)}
end
local copies, a = copies_up_to(place, ARGV[6], ARGV[7]), slice(8)
local facts = cjson.decode(a[3])
facts[#facts + 1] = 'k|' .. ARGV[5] .. '|' .. born()
a[3] = cjson.encode(facts)

key = KEYS[1]
create_session(a)
add_copies(copies, copies.members, 1)
trace(1, ARGV[3])
return {OK, document(numbers())}
