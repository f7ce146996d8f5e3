-- Turns waiting messages into dead letters. ARGV: key, time, the same as eight bytes, reason, ids.
-- Returns those that waited.
-- include common.lua
local ids = {}
for i = 5, #ARGV do
  ids[#ids + 1] = ARGV[i]
end
probe(ARGV[1])
return bury(ARGV[1], ids, ARGV[2], ARGV[3], ARGV[4])
