-- KEYS: sessions. ARGV: now, or '' to read expired ones too. Returns `collected` sessions.
for _, session in ipairs(KEYS) do collect(session, ARGV[1]) end
return collected()
