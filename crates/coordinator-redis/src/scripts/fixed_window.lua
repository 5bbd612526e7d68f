-- Fixed window: the first instant after the window, and the units admitted in it.
local state = redis.call('GET', KEYS[1])
local window_end, used = 0, 0
local is_moved = false

-- The end of a window that a first hit would open now.
local function end_of_window()
  if anchored == 0 then
    return now + period - now % period
  end
  return now + period
end

if state then
  if string.sub(state, 1, 13) ~= signature or #state ~= 29 then
    return { 2, now, state }
  end
  window_end, used = struct.unpack('<dd', state, 14)
  if window_end <= now then
    used = 0
  elseif now + period < window_end then
    is_moved, window_end = true, end_of_window()
  end
end

if cost == 0 or (0 < cost and burst < used + cost) or (cost < 0 and used == 0) then
  if is_moved then
    return keep_unchanged(signature .. struct.pack('<dd', window_end, used), window_end - now)
  end
  return { 0, now, state or '' }
end
if used == 0 then
  window_end = end_of_window()
end
used = used + cost
if used <= 0 then
  return forget()
end
return keep(signature .. struct.pack('<dd', window_end, used), window_end - now)
