-- Shared by the scripts that read many sessions.
local documents, states, facts = {}, {}, {}

-- The state of the session of this key, and of one that exists its JSON and its generation.
local function read(scope)
  local n = numbers(SHOWN)
  if not n then return '-' end
  if is_hidden(scope) then return 'o' end
  if is_past(n, scope) then return 'x' end
  return 'y', document(n), n.generation
end

-- Reads the session of a key. A scope without a time has also expired ones.
local function collect(session, scope)
  key = session
  local is_read, state, found, generation = pcall(read, scope)
  if not is_read then
    local problem = type(state) == 'table' and state.err or state  -- a table since Redis 7
    if not (problem:find('UNREADABLE', 1, true) or problem:find('WRONGTYPE', 1, true)) then error(state, 0) end
    state = 'u'
  end
  states[#states + 1] = state
  if state == 'y' then
    documents[#documents + 1] = found
    facts[#facts + 1] = string.format('%.0f %d', generation, #found)
  end
end

-- The sessions that exist; a letter for each key that was read (y exists, x expired, - gone, u cannot be read, o is
-- another user's); and the generation and the size in bytes of each that exists. Each of the three is one text, because a
-- client parses one long text in less time than hundreds of short ones.
local function collected()
  return {table.concat(documents, ','), table.concat(states), table.concat(facts, ',')}
end
