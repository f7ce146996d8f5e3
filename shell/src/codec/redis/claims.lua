-- What the scripts about claims share. A claim is its epoch (8 bytes), the length of its node (2), the
-- node, and the node that it was taken from or nothing.
local unclaimed = string.rep('\0', 8)

local function claimant(claim)
  return string.sub(claim, 11, 10 + struct.unpack('>I2', claim, 9))
end

-- Whether the node's lease holds.
local function lives(node, told)
  local ends = redis.call('ZSCORE', KEYS[1] .. 'leases', node)
  return ends and tonumber(ends) > clock(told)
end

local function tell(node, text)
  local prefix = string.match(KEYS[1], '^(.*):{%d+}:$')
  redis.call('PUBLISH', prefix .. ':node:' .. node, text)
end

