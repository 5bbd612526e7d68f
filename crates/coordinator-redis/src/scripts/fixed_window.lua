-- Fixed window: the first instant after the window, and the units admitted in it.
local state = redis.call('GET', KEYS[1])
local window_end, used = 0, 0
if state then
  if string.sub(state, 1, 13) ~= signature then
    return { 2, now, state }
  end
  window_end, used = struct.unpack('<dd', state, 14)
  if window_end <= now then
    used = 0
  end
end

if cost == 0 or (0 < cost and burst < used + cost) or (cost < 0 and used == 0) then
  return { 0, now, state or '' }
end
if used == 0 then
  window_end = now + period
  if anchored == 0 then
    window_end = window_end - now % period
  end
end
used = used + cost
if used <= 0 then
  return forget()
end
return keep(signature .. struct.pack('<dd', window_end, used), window_end - now)
