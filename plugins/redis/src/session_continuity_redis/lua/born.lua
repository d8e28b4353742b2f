-- ARGV: scope. Returns what distinguishes the session from an earlier one of its id.
if not visible(ARGV[1]) then return {MISSING} end
return {OK, born()}
