-- GCRA, and the leaky bucket, which is the same arithmetic told as a level.
--
-- The state: an instant, and what was counted at it: whole units, and of one that has begun to drain the rest in ticks
-- of 1 / units of a microsecond, of which a unit has `period`. Redis tells whole microseconds, so draining takes whole
-- ticks. A state taken over from another rate can have a thousandth of a tick more: the fourth number, in thousandths.
local state = redis.call('GET', KEYS[1])
local whole, ticks, rest = 0, 0, 0
local is_moved = false

-- Units used, one that has begun to drain whole.
local function level()
  if 0 < ticks or 0 < rest then
    return whole + 1
  end
  return whole
end

if state then
  if string.sub(state, 1, 13) ~= signature or #state ~= 45 then
    return { 2, now, state }
  end
  local at
  at, whole, ticks, rest = struct.unpack('<dddd', state, 14)
  local most = math.max(burst, level())
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
  if now < at and most < level() then
    -- More than a spent key has, or than there was: the clock was ahead. Not by subtraction, since this can be beyond
    -- 2^53.
    is_moved, whole = true, most
    if 0 < ticks or 0 < rest then
      whole = most - 1
    end
  end
end

local used = level()
if cost == 0 or (0 < cost and burst < used + cost) or (cost < 0 and used == 0) then
  if not is_moved then
    return { 0, now, state or '' }
  end
  cost = 0
end
whole = whole + cost
if whole < 0 or (whole == 0 and ticks == 0 and rest == 0) then
  return forget()
end
-- Not exact, unlike the rest, for which the millisecond makes up.
local left = (whole * period + ticks) / units + 1000
local after = signature .. struct.pack('<dddd', now, whole, ticks, rest)
if cost == 0 then
  return keep_unchanged(after, left)
end
return keep(after, left)
