-- Lists dead letters. ARGV: limit, filter. Returns for each its key, id, value and history.
-- include common.lua
local filter = read_filter(2)
local answer = {}
for _, letter in ipairs(select_letters(filter, tonumber(ARGV[1]))) do
  answer[#answer + 1] = letter[1]
  answer[#answer + 1] = letter[2]
  answer[#answer + 1] = call('HGET', messages, letter[2])
  answer[#answer + 1] = call('HGET', histories, letter[2])
end
return answer
