-- KEYS: sessions. ARGV: now, or '' to read expired ones too.
-- Answers those that exist, a letter for each key (y exists, x expired, - gone), and generations.
local found, states, generations = {}, {}, {}
for i, session in ipairs(KEYS) do
  key = session
  local n = numbers()
  if not n then
    states[i] = '-'
  elseif ARGV[1] ~= '' and is_past(n, ARGV[1]) then
    states[i] = 'x'
  else
    states[i] = 'y'
    found[#found + 1] = document(n)
    generations[#generations + 1] = string.format('%.0f', n.generation)
  end
end
return {found, table.concat(states), table.concat(generations, ',')}
