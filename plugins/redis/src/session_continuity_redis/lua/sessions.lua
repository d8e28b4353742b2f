-- KEYS: sessions. ARGV: scope. Returns `collected` sessions.
for _, session in ipairs(KEYS) do collect(session, ARGV[1]) end
return collected()
