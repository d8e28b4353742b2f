-- KEYS: session, and the index if it is on the same server. ARGV: scope, age, token, then the arguments of
-- create_session.
-- Returns the generation, or the existing session, its generation, and whether the index has it.
local existing, reply = numbers(), known(ARGV[3], ARGV[2])
local is_there = existing and alive(ARGV[1])
if reply then return is_there and {reply[1], reply[2], reply[3], document(existing)} or reply end
if is_there then
  return {EXISTS, document(existing), existing.generation, has_index and not row_of(ARGV[5]) and 0 or 1}
end
local generation = create_session(slice(4))
trace(1, ARGV[3])
return {OK, generation}
