-- Puts into a set by activity the sessions of a list that it lacks, or removes those that the list does not have, a piece at
-- a time. The set lacks those that were created by a version without listings by activity.
-- ARGV: name of the list, the position after which to go on ('' at first), most entries to look at, what stands before and
-- after the id in a session's key. Returns the next position, or false at the end.
local name, most = ARGV[1], tonumber(ARGV[3])
local set = name == 'a' and recent or recent .. ':' .. name:sub(3)
local stage, position = ARGV[2]:match('^(%a*)|?(.*)$')

if stage ~= 'drop' then
  local entries = redis.call('ZRANGEBYLEX', index, '(' .. name .. '|' .. position, '(' .. name .. '}', 'LIMIT', 0, most)
  for i, member in ipairs(entries) do
    local entry = member:sub(#name + 2)
    local id = id_in(entry)
    if not redis.call('ZSCORE', set, id) then
      -- A session that is gone takes the time of its creation. The listing finds that out.
      local session = redis.pcall('ZSCORE', ARGV[4] .. escaped(id) .. ARGV[5], '#activity')
      redis.call('ZADD', set, type(session) == 'string' and session - NUMBERS or packed(entry:sub(1, 24)), id)
    end
    entries[i] = entry
  end
  if #entries == most then return 'fill|' .. entries[most] end
  if redis.call('ZCARD', set) == redis.call('ZLEXCOUNT', index, '(' .. name .. '|', '(' .. name .. '}') then return false end
  return 'drop|0'
end

local ids = redis.call('ZRANGE', set, position, position + most - 1)
local kept = #ids
for _, id in ipairs(ids) do
  local _, _, facts = row_of(escaped(id))
  local entry = facts and cjson.decode(facts)[1]
  if not (entry and redis.call('ZSCORE', index, name .. '|' .. entry)) then
    redis.call('ZREM', set, id)
    kept = kept - 1
  end
end
return #ids == most and string.format('drop|%d', position + kept)
