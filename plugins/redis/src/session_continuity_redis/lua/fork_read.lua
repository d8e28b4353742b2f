-- The first step of a fork on a cluster. ARGV: scope, '=' and the id of the last message to copy or '' for all, the piece
-- of a body that names the source, the one that names the new session.
-- Returns what distinguishes the source, the place up to which it was read, the number of copies, their tokens, the time
-- of the last, and their members with scores.
local source = visible(ARGV[1])
if not source then return {MISSING} end
local place = place_of(source, ARGV[2])
if not place then return {NO_MESSAGE} end
local copies = copies_up_to(place, ARGV[3], ARGV[4])
return {OK, born(), copies.place, copies.count, copies.tokens, copies.last, copies.members}
