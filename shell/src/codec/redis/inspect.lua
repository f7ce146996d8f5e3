-- Names the keys that are of another type than they should be. ARGV: perhaps a gateway's key, whose
-- mailbox is looked at too. Returns names.
local types = {
  version = 'string', ['claims:place'] = 'string', position = 'string', epoch = 'string', incarnation = 'string',
  messages = 'hash', histories = 'hash', letters = 'hash', deaths = 'hash', names = 'hash',
  claims = 'hash', sessions = 'hash', runs = 'hash',
  expiry = 'zset', keys = 'zset', dead = 'zset', leases = 'zset',
  ['names:ends'] = 'zset', ['sessions:ends'] = 'zset',
}
if ARGV[1] then
  types['waiting:' .. ARGV[1]] = 'zset'
  types['dead:' .. ARGV[1]] = 'zset'
end
local wrong = {}
for name, expected in pairs(types) do
  local actual = redis.call('TYPE', KEYS[1] .. name).ok
  if actual ~= 'none' and actual ~= expected then
    wrong[#wrong + 1] = KEYS[1] .. name .. ' is a ' .. actual .. ' and not a ' .. expected
  end
end
table.sort(wrong)
return wrong
