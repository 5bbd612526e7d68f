-- Sliding counter: the first instant after the current window, the units admitted in it, and those in the one before,
-- which are weighted by how much of it the sliding window still covers.
local state = redis.call('GET', KEYS[1])
local window_end, current, previous = 0, 0, 0
local this_window_end = now - now % period + period
local is_moved = false
if state then
  if string.sub(state, 1, 13) ~= signature or #state ~= 37 then
    return { 2, now, state }
  end
  window_end, current, previous = struct.unpack('<ddd', state, 14)
  if this_window_end < window_end then
    -- The previous window weighs no more than whole.
    is_moved, window_end = true, this_window_end
  end
  if window_end <= now then
    window_end, current, previous = window_end + period, 0, current
  end
  if window_end <= now then
    previous = 0
  end
end

local used = current
if 0 < previous then
  local whole, rest = muldiv(window_end - now, previous, period)
  used = used + whole
  if 0 < rest then
    used = used + 1
  end
end
if cost == 0 or (0 < cost and burst < used + cost) or (cost < 0 and used == 0) then
  if not is_moved then
    return { 0, now, state or '' }
  end
  cost = 0
end
if used == 0 then
  window_end = this_window_end
end
current = current + cost
if current < 0 then
  previous, current = math.max(0, previous + current), 0
end
if current == 0 and previous == 0 then
  return forget()
end
local left = window_end - now
if 0 < current then
  left = left + period
end
local after = signature .. struct.pack('<ddd', window_end, current, previous)
if cost == 0 then
  return keep_unchanged(after, left)
end
return keep(after, left)
