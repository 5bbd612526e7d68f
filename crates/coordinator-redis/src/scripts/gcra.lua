-- GCRA, and the leaky bucket, which is the same arithmetic told as a level.
--
-- The state: an instant, and what was counted at it: whole units, and of one that has begun to drain the rest in ticks
-- of 1 / units of a microsecond, of which a unit has `period`. Redis tells whole microseconds, so draining takes whole
-- ticks. A state taken over from another rate can have a thousandth of a tick more: the fourth number, in thousandths.
local state = redis.call('GET', KEYS[1])
local whole, ticks, rest = 0, 0, 0
if state then
  if string.sub(state, 1, 13) ~= signature then
    return { 2, now, state }
  end
  local at
  at, whole, ticks, rest = struct.unpack('<dddd', state, 14)
  -- A clock that went back finds more: what drains until `at` has not drained yet.
  local passed = math.abs(now - at)
  local periods = math.floor(passed / period)
  local drained, part = muldiv(passed - periods * period, units, period)
  drained = drained + periods * units
  if at <= now then
    whole, ticks = whole - drained, ticks - part
  else
    whole, ticks = whole + drained, ticks + part
  end
  if ticks < 0 then
    whole, ticks = whole - 1, ticks + period
  elseif period <= ticks then
    whole, ticks = whole + 1, ticks - period
  end
  if whole < 0 then
    whole, ticks, rest = 0, 0, 0
  end
end

local used = whole
if 0 < ticks or 0 < rest then
  used = whole + 1
end
if cost == 0 or (0 < cost and burst < used + cost) or (cost < 0 and used == 0) then
  return { 0, now, state or '' }
end
whole = whole + cost
if whole < 0 or (whole == 0 and ticks == 0 and rest == 0) then
  return forget()
end
-- Not exact, unlike the rest, for which the millisecond makes up.
local left = (whole * period + ticks) / units + 1000
return keep(signature .. struct.pack('<dddd', now, whole, ticks, rest), left)
