-- Turns waiting messages into dead letters, unless the sender has lost the key or another node has it;
-- for their age those that have expired.
-- ARGV: key, time, the same as eight bytes, reason, the epoch of the sender's claim, ids. Returns those
-- that waited.
-- include claims.lua
-- include common.lua
local claim = call('HGET', base .. 'claims', ARGV[1])
local admits = (claim and string.sub(claim, 1, 8) or unclaimed) == ARGV[5]
if ARGV[5] == unclaimed and claim then
  admits = not lives(claimant(claim), ARGV[2])
end
if not admits then
  return {}
end
probe(ARGV[1])
local ids = {}
for i = 6, #ARGV do
  local ends = ARGV[4] == '2' and call('ZSCORE', expiry, ARGV[i] .. ARGV[1])
  if not ends or tonumber(ends) <= tonumber(ARGV[2]) then
    ids[#ids + 1] = ARGV[i]
  end
end
return bury(ARGV[1], ids, ARGV[2], ARGV[3], ARGV[4])
