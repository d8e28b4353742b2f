-- ARGV: name, upper bound or '', lower bound, entries wanted, entries to look at at most, JSON list of lists of names:
-- an entry must stand under one name of each.
-- Answers the JSON list of entries found, newest first, and the last one looked at, false where that was all.
local start, wanted, most = ARGV[1] .. '|', tonumber(ARGV[4]), tonumber(ARGV[5])
local upper = '(' .. (ARGV[2] == '' and ARGV[1] .. '}' or start .. ARGV[2])
local lower = '(' .. start .. ARGV[3]
local conditions = cjson.decode(ARGV[6])

-- Whether each of these entries stands under one name of each condition. Few commands with many words take a fraction of
-- the time of many with few.
local function standing(entries)
  local stands = {}
  for i = 1, #entries do stands[i] = true end
  for _, names in ipairs(conditions) do
    local members, under = {}, {}
    for i, entry in ipairs(entries) do
      for _, name in ipairs(names) do members[#members + 1] = name .. '|' .. entry end
      under[i] = false
    end
    local at = 0
    for _, scores in ipairs(in_pieces('ZMSCORE', members)) do
      for _, score in ipairs(scores) do
        local i = math.floor(at / #names) + 1
        under[i], at = under[i] or score, at + 1
      end
    end
    for i = 1, #entries do stands[i] = stands[i] and under[i] end
  end
  return stands
end

local found, seen = {}, 0

local function answer(last)
  return {#found > 0 and cjson.encode(found) or '[]', last}
end

while true do
  local size = math.min(math.max(wanted - #found, 20), most - seen)
  local members = redis.call('ZREVRANGEBYLEX', key, upper, lower, 'LIMIT', 0, size)
  local entries = {}
  for i, member in ipairs(members) do entries[i] = member:sub(#start + 1) end
  local stands = standing(entries)
  for i, entry in ipairs(entries) do
    seen = seen + 1
    if stands[i] then found[#found + 1] = entry end
    if #found == wanted or seen == most then return answer(entry) end
  end
  if #members < size then return answer(false) end
  upper = '(' .. members[#members]
end
