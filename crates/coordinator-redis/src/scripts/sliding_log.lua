-- Sliding log: every admitted hit, remembered for one period.
--
-- The state: how many entries at its front no longer count, and the units in them; then the entries, oldest first, each
-- an instant and the units admitted up to and with it. Sums instead of costs, so that halving finds what is sought in a
-- log of ten thousand. Hits of one microsecond are one entry. What is told is a log thinned to the entries that the
-- answer depends on.
local HEADER, ENTRY = 29, 16
-- The header and 62 entries come with the first look; a longer log is read where it matters.
local LOOK = HEADER + 62 * ENTRY

local state = redis.call('GETRANGE', KEYS[1], 0, LOOK - 1)
local dropped, dropped_units, stored = 0, 0, 0
if state ~= '' then
  if string.sub(state, 1, 13) ~= signature then
    return { 2, now, redis.call('GET', KEYS[1]) }
  end
  if #state < HEADER then
    return { 2, now, state }
  end
  dropped, dropped_units = struct.unpack('<dd', state, 14)
  local length = #state
  if length == LOOK then
    length = redis.call('STRLEN', KEYS[1])
  end
  stored = (length - HEADER) / ENTRY
  -- Every log that was written here ends in an entry that counted then.
  if stored % 1 ~= 0 or dropped < 0 or stored <= dropped then
    return { 2, now, redis.call('GET', KEYS[1]) }
  end
end

local function stored_entry(i)
  local from = HEADER + i * ENTRY
  if from + ENTRY <= #state then
    return struct.unpack('<dd', state, from + 1)
  end
  return struct.unpack('<dd', redis.call('GETRANGE', KEYS[1], from, from + ENTRY - 1))
end

local newest, total = 0, dropped_units
if 0 < stored then
  newest, total = stored_entry(stored - 1)
end

local function entry(i)
  if i == stored - 1 then
    return newest, total
  end
  return stored_entry(i)
end

-- The first entry from `low` on that is sought. The last always is. Doubles its stride, then halves.
local function first(low, is_sought)
  local high, stride = low, 1
  while high < stored - 1 and not is_sought(entry(high)) do
    low, high, stride = high + 1, math.min(high + stride, stored - 1), stride * 2
  end
  while low < high do
    local middle = math.floor((low + high) / 2)
    if is_sought(entry(middle)) then
      high = middle
    else
      low = middle + 1
    end
  end
  return low
end

if now < newest then
  -- Written while the clock was ahead: the entries that are to come are one of this instant.
  local ahead = first(dropped, function(at) return now < at end)
  newest, stored = now, ahead + 1
  local front = redis.call('GETRANGE', KEYS[1], 0, HEADER + ahead * ENTRY - 1)
  keep(front .. struct.pack('<dd', newest, total), period)
end

local live, live_from, used = stored, total, 0
if now < newest + period then
  live = first(dropped, function(at) return now < at + period end)
  live_from = dropped_units
  if dropped < live then
    local _
    _, live_from = entry(live - 1)
  end
  used = total - live_from
end

-- The entry after whose expiry no more than `left` units are used.
local function falls_to(left)
  return first(live, function(_, sum) return total - sum <= left end)
end

local function answer(what)
  if used == 0 then
    return { what, now, '' }
  end
  local grows = falls_to(math.min(used, burst) - 1)
  local chosen = { grows }
  if 0 < cost and 0 <= burst - cost and burst - cost < used then
    -- Denied: a hit that does not fit fits no sooner than one unit would.
    local fits = falls_to(burst - cost)
    if fits ~= grows then
      table.insert(chosen, fits)
    end
  end
  if chosen[#chosen] ~= stored - 1 then
    table.insert(chosen, stored - 1)
  end
  local thinned = signature .. struct.pack('<dd', 0, live_from)
  for _, i in ipairs(chosen) do
    local at, sum = entry(i)
    thinned = thinned .. struct.pack('<dd', at, sum)
  end
  return { what, now, thinned }
end

if cost == 0 or (0 < cost and burst < used + cost) or (cost < 0 and used == 0) then
  return answer(0)
end
if used + cost <= 0 then
  return forget()
end

if cost < 0 then
  -- The newest first: the log ends with the entry that holds the last unit left.
  local left = total + cost
  local last = first(live, function(_, sum) return left <= sum end)
  newest = entry(last)
  total, used, stored = left, used + cost, last + 1
  local told = answer(1)
  local front = redis.call('GETRANGE', KEYS[1], 0, HEADER + last * ENTRY - 1)
  keep(front .. struct.pack('<dd', newest, total), newest + period - now)
  return told
end

if used == 0 then
  return keep(signature .. struct.pack('<dddd', 0, 0, now, cost), period)
end
local joined = now == newest
local place = HEADER + stored * ENTRY
if joined then
  -- One of the newest entry's instant.
  place = place - ENTRY
else
  newest, stored = now, stored + 1
end
total, used = total + cost, used + cost
local told = answer(1)
redis.call('SETRANGE', KEYS[1], place, struct.pack('<dd', newest, total))
if stored < 2 * live then
  -- Each entry is copied at most once for each that was dropped.
  local rest = redis.call('GETRANGE', KEYS[1], HEADER + live * ENTRY, -1)
  redis.call('SET', KEYS[1], signature .. struct.pack('<dd', 0, live_from) .. rest)
elseif dropped < live then
  redis.call('SETRANGE', KEYS[1], 13, struct.pack('<dd', live, live_from))
end
redis.call('PEXPIRE', KEYS[1], math.ceil((newest + period - now) / 1000) + grace)
return told
