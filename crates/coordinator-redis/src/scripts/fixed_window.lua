-- Fixed window: the first instant after the window, and the units admitted in it; and its length, if a calendar says how
-- long windows are.
local by_calendar = anchored == 2
local state_bytes, format = 29, '<dd'
if by_calendar then
  state_bytes, format = 37, '<ddd'
end

-- The window that a first hit would open now: its end, and its length.
local function this_window()
  if anchored == 0 then
    return now + period - now % period, period
  end
  if anchored == 1 then
    return now + period, period
  end
  local edges = { struct.unpack('<dddd', ARGV[3]) }
  for i = 1, 3 do
    if edges[i] <= now and now < edges[i + 1] then
      return edges[i + 1], edges[i + 1] - edges[i]
    end
  end
end

local this_end, this_length = this_window()
if not this_end then
  return { 3, now, '' }
end

local state = redis.call('GET', KEYS[1])
local window_end, used, length = 0, 0, period
local is_moved = false
if state then
  if string.sub(state, 1, 13) ~= signature or #state ~= state_bytes then
    return { 2, now, state }
  end
  if by_calendar then
    window_end, used, length = struct.unpack(format, state, 14)
  else
    window_end, used = struct.unpack(format, state, 14)
  end
  if window_end <= now then
    used = 0
  elseif now + length < window_end then
    is_moved, window_end, length = true, this_end, this_length
  end
end

local function told()
  return signature .. struct.pack(format, window_end, used, length)
end

if cost == 0 or (0 < cost and burst < used + cost) or (cost < 0 and used == 0) then
  if is_moved then
    return keep_unchanged(told(), window_end - now)
  end
  return { 0, now, state or '' }
end
if used == 0 then
  window_end, length = this_end, this_length
end
used = used + cost
if used <= 0 then
  return forget()
end
return keep(told(), window_end - now)
