-- Shared by the scripts that read many sessions.
local documents, states, generations = {}, {}, {}

-- Reads the session of a key, with '' in place of the time also an expired one.
local function collect(session, now)
  key = session
  local n = numbers(SHOWN)
  if not n then
    states[#states + 1] = '-'
  elseif now ~= '' and is_past(n, now) then
    states[#states + 1] = 'x'
  else
    states[#states + 1] = 'y'
    documents[#documents + 1] = document(n)
    generations[#generations + 1] = string.format('%.0f', n.generation)
  end
end

-- The sessions that exist, a letter for each key that was read (y exists, x expired, - gone), and the generations. Each
-- of the three is one text, because a client parses one long text in less time than hundreds of short ones.
local function collected()
  return {table.concat(documents, ','), table.concat(states), table.concat(generations, ',')}
end
