-- GCRA as a script in Redis: KEYS[1]; burst, count, period in seconds. One time per key, in microseconds, as a string.
local now = redis.call('TIME')
now = now[1] * 1000000 + now[2]
local interval = ARGV[3] * 1000000 / ARGV[2]
local tolerance = interval * ARGV[1]
local tat = math.max(tonumber(redis.call('GET', KEYS[1]) or now), now)
local next = tat + interval
if now < next - tolerance then
  return {1, tonumber(ARGV[1]), 0, math.ceil((next - tolerance - now) / 1000000), math.ceil((tat - now) / 1000000)}
end
redis.call('SET', KEYS[1], string.format('%.0f', next), 'PX', math.ceil((next - now) / 1000) + 1)
return {0, tonumber(ARGV[1]), math.floor((tolerance - (next - now)) / interval), -1, math.ceil((next - now) / 1000000)}
