-- The last step of a fork on a cluster. ARGV: scope, age, token, what fork_read returned of the copies (place, count,
-- tokens, time of the last), the number of arguments of create_session, these arguments, then members with scores.
-- Returns the new session, or the existing one and its generation.
local existing, reply = numbers(), known(ARGV[3], ARGV[2])
local is_there = existing and alive(ARGV[1])
if reply then return is_there and reply[3] == 0 and {DONE, document(existing)} or {UNKNOWN} end
if is_there then return {EXISTS, document(existing), existing.generation} end
local first = 9 + ARGV[8]
create_session(slice(9, first - 1))
add_copies({place = ARGV[4], count = ARGV[5], tokens = ARGV[6], last = tonumber(ARGV[7])}, ARGV, first)
trace(1, ARGV[3])
return {OK, document(numbers())}
