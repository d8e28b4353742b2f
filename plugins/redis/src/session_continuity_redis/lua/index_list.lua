-- ARGV: name, upper bound or '', lower bound, entries wanted, entries to look at at most, JSON list of lists of names:
-- an entry must stand under one name of each.
-- Answers the JSON list of entries found, newest first, and the last one looked at, false where that was all.
local start, wanted, most = ARGV[1] .. '|', tonumber(ARGV[4]), tonumber(ARGV[5])
local upper = '(' .. (ARGV[2] == '' and ARGV[1] .. '}' or start .. ARGV[2])
local lower = '(' .. start .. ARGV[3]
local conditions = cjson.decode(ARGV[6])

local function stands(entry)
  for _, names in ipairs(conditions) do
    local members = {}
    for i, name in ipairs(names) do members[i] = name .. '|' .. entry end
    local any = false
    for _, scores in ipairs(in_pieces('ZMSCORE', members)) do
      for _, score in ipairs(scores) do any = any or score end
    end
    if not any then return false end
  end
  return true
end

local found, seen = {}, 0

local function answer(last)
  return {#found > 0 and cjson.encode(found) or '[]', last}
end

while true do
  local size = math.min(math.max(wanted - #found, 20), most - seen)
  local members = redis.call('ZREVRANGEBYLEX', key, upper, lower, 'LIMIT', 0, size)
  for _, member in ipairs(members) do
    local entry = member:sub(#start + 1)
    seen = seen + 1
    if stands(entry) then found[#found + 1] = entry end
    if #found == wanted or seen == most then return answer(entry) end
  end
  if #members < size then return answer(false) end
  upper = '(' .. members[#members]
end
