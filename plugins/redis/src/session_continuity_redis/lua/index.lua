-- Shared by the scripts on one part of a namespace's index. What its sorted set holds is described in the docstring of
-- the package.
local key = KEYS[1]

local function microseconds()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

-- The row of a session: the whole member, its generation, and its facts, or nothing.
local function row_of(id)
  local row = redis.call('ZRANGEBYLEX', key, '[f|' .. id .. '|', '(f|' .. id .. '}', 'LIMIT', 0, 1)[1]
  if not row then return nil end
  local generation, facts = row:match('^f|[^|]*|(%d+)|(.*)$')
  return row, tonumber(generation), facts
end

local function entries_of(facts)
  local decoded, entries = cjson.decode(facts), {}
  for i = 2, #decoded do entries[i - 1] = decoded[i] .. '|' .. decoded[1] end
  return entries
end

-- One command on any number of words, in pieces: Lua's stack does not hold more than some thousands at once.
local function in_pieces(command, words)
  local answers = {}
  for from = 1, #words, 1000 do
    answers[#answers + 1] = redis.call(command, key, unpack(words, from, math.min(from + 999, #words)))
  end
  return answers
end

local function remove(row, facts)
  redis.call('ZREM', key, row)
  in_pieces('ZREM', entries_of(facts))
end
