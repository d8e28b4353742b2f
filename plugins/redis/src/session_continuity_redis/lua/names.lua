-- ARGV: scope, bodies. Returns the id of the message of each body, and its place where it has lost its id; '' for
-- a message that is gone.
if not visible(ARGV[1]) then return {MISSING} end
local names = {}
for i = 2, #ARGV do
  local place = tonumber(redis.call('ZSCORE', key, ARGV[i]) or 0)
  names[i - 1] = place == 0 and '' or id_at(place) or 'place ' .. place
end
return {OK, names}
