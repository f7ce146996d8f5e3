-- Drops dead letters. ARGV: limit, how many may stay or '', filter. Returns how many were dropped.
-- include common.lua
local limit = tonumber(ARGV[1])
if ARGV[2] ~= '' then
  limit = math.min(limit, math.max(0, call('ZCARD', dead) - tonumber(ARGV[2])))
end
local doomed = select_letters(read_filter(3), limit)
for _, letter in ipairs(doomed) do
  probe(letter[1])
end
for _, letter in ipairs(doomed) do
  exhume(letter[1], letter[2])
  call('HDEL', histories, letter[2])
  call('HDEL', messages, letter[2])
end
return #doomed
