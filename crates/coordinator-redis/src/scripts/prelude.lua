-- What every script begins with. KEYS[1] is the counter. ARGV[1] is what the limit says, packed: the 13 bytes that a
-- state written under the same parameters begins with, then six doubles. ARGV[2] is for tests: an instant to take for
-- the server's, in microseconds since the epoch, or ''. ARGV[3] is for limits whose windows follow a calendar: where four
-- of them begin, one after the other, as doubles.
--
-- A cost above 0 is a hit, 0 a peek, below 0 a refund. The answer is { what, now, state }:
--   0  no units were changed; the state as it is
--   1  done; the state after it
--   2  the state was written under other parameters or is none of ours, and nothing was changed; the state as it is
--   3  now lies in none of the calendar's windows that were told, and nothing was changed; the state is ''
--
-- A state from a time that has not come yet was written while the clock was ahead. It is taken for written now, and
-- kept so, as soon as anybody asks: else it would deny for as long as the clock was ahead.
-- A state that is '' is none. All numbers are whole and below 2^53, so that doubles hold them exactly: instants are
-- microseconds, and so are periods.
local signature = string.sub(ARGV[1], 1, 13)
local cost, burst, units, period, grace, anchored = struct.unpack('<dddddd', ARGV[1], 14)
local now = tonumber(ARGV[2])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end

-- The whole part and the rest of a * b / c, for a <= c < 2^45 and b < 2^35.
local function muldiv(a, b, c)
  local product = a * b
  if product < 9007199254740992 then
    local whole = math.floor(product / c)
    return whole, product - whole * c
  end
  -- Long multiplication, seven bits of b at a time: rest * 128 + a * 127 stays below 2^53.
  local whole, rest = 0, 0
  for place = 4, 0, -1 do
    rest = rest * 128 + a * (math.floor(b / 128 ^ place) % 128)
    whole = whole * 128 + math.floor(rest / c)
    rest = rest % c
  end
  return whole, rest
end

-- Keeps `state` until `left` microseconds from now have passed, and a little longer.
local function keep(state, left)
  redis.call('SET', KEYS[1], state, 'PX', math.ceil(left / 1000) + grace)
  return { 1, now, state }
end

-- As keep, for an operation that changed no units.
local function keep_unchanged(state, left)
  keep(state, left)
  return { 0, now, state }
end

local function forget()
  redis.call('DEL', KEYS[1])
  return { 1, now, '' }
end
